//! Which IAM action each operation needs, and on what. An operation that is not in the table is refused.

/// What an operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// `*`: no bucket in particular.
    All,
    /// `arn:aws:s3:::bucket`.
    Bucket,
    /// `arn:aws:s3:::bucket/key`.
    Object,
    /// Each key the body names, asked for one by one by the operation itself.
    EachKey,
}

/// Operation → IAM action and resource, from the Service Authorization Reference for Amazon S3. Copies also need
/// `s3:GetObject` on their source, and writes that carry tags `s3:PutObjectTagging`: the operations ask for those.
pub const ACTIONS: &[(&str, &str, On)] = &[
    ("AbortMultipartUpload", "s3:AbortMultipartUpload", On::Object),
    ("CompleteMultipartUpload", "s3:PutObject", On::Object),
    ("CopyObject", "s3:PutObject", On::Object),
    ("CreateBucket", "s3:CreateBucket", On::Bucket),
    ("CreateMultipartUpload", "s3:PutObject", On::Object),
    ("DeleteBucket", "s3:DeleteBucket", On::Bucket),
    ("DeleteBucketTagging", "s3:PutBucketTagging", On::Bucket),
    ("DeleteObject", "s3:DeleteObject", On::Object),
    ("DeleteObjectTagging", "s3:DeleteObjectTagging", On::Object),
    ("DeleteObjects", "s3:DeleteObject", On::EachKey),
    ("GetBucketLocation", "s3:GetBucketLocation", On::Bucket),
    ("GetBucketNotificationConfiguration", "s3:GetBucketNotification", On::Bucket),
    ("GetBucketTagging", "s3:GetBucketTagging", On::Bucket),
    ("GetBucketVersioning", "s3:GetBucketVersioning", On::Bucket),
    ("GetObject", "s3:GetObject", On::Object),
    ("GetObjectAttributes", "s3:GetObjectAttributes", On::Object),
    ("GetObjectTagging", "s3:GetObjectTagging", On::Object),
    ("HeadBucket", "s3:ListBucket", On::Bucket),
    ("HeadObject", "s3:GetObject", On::Object),
    ("ListBuckets", "s3:ListAllMyBuckets", On::All),
    ("ListMultipartUploads", "s3:ListBucketMultipartUploads", On::Bucket),
    ("ListObjectVersions", "s3:ListBucketVersions", On::Bucket),
    ("ListObjects", "s3:ListBucket", On::Bucket),
    ("ListObjectsV2", "s3:ListBucket", On::Bucket),
    ("ListParts", "s3:ListMultipartUploadParts", On::Object),
    ("PutBucketNotificationConfiguration", "s3:PutBucketNotification", On::Bucket),
    ("PutBucketTagging", "s3:PutBucketTagging", On::Bucket),
    ("PutObject", "s3:PutObject", On::Object),
    ("PutObjectTagging", "s3:PutObjectTagging", On::Object),
    ("UploadPart", "s3:PutObject", On::Object),
    ("UploadPartCopy", "s3:PutObject", On::Object),
];

/// The action and resource kind of an operation, if Wadi has it.
pub fn action(operation: &str) -> Option<(&'static str, On)> {
    ACTIONS.iter().find(|(name, ..)| *name == operation).map(|(_, action, on)| (*action, *on))
}

/// Request headers that ask for something Wadi lacks: a request that carries one is refused by name. (`x-amz-acl` and
/// grants are refused in S3's own way by the operations, as for any bucket with ACLs off.)
pub const LACKING_HEADERS: &[&str] = &[
    "x-amz-bucket-object-lock-enabled",
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-mfa",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_says_what_is_touched() {
        assert!(ACTIONS.is_sorted_by_key(|a| a.0));
        assert_eq!(action("HeadObject"), Some(("s3:GetObject", On::Object)));
        assert_eq!(action("PutBucketVersioning"), None);
    }
}
