//! Checksums: what a client claims of its bytes, what they really come to, and how parts' sums make the whole's.

use crate::error::{Result, invalid_request, refused};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use serde::{Deserialize, Serialize};

/// S3's checksum algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "CRC32")]
    Crc32,
    #[serde(rename = "CRC32C")]
    Crc32c,
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    #[serde(rename = "SHA1")]
    Sha1,
    #[serde(rename = "SHA256")]
    Sha256,
}

/// Whether a checksum is of all the bytes or of the parts' checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SumKind {
    #[serde(rename = "FULL_OBJECT")]
    Full,
    #[serde(rename = "COMPOSITE")]
    Composite,
}

/// A checksum as S3 writes it: base64, with `-N` if it is of N parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub algorithm: Algorithm,
    pub kind: SumKind,
    pub value: String,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| {
            invalid_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
        })
    }

    fn bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    fn crc(self) -> Option<crc_fast::CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(crc_fast::CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(crc_fast::CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    /// The kind of a multipart object's checksum: as asked, if the algorithm can, else its usual one.
    pub fn kind(self, asked: Option<&str>) -> Result<SumKind> {
        let cannot = |kind| {
            Err(invalid_request(format!(
                "The {kind} checksum type cannot be used with the {} checksum algorithm.",
                self.name().to_ascii_lowercase()
            )))
        };
        match asked {
            None if self == Algorithm::Crc64Nvme => Ok(SumKind::Full),
            None => Ok(SumKind::Composite),
            Some("FULL_OBJECT") if self.crc().is_none() => cannot("FULL_OBJECT"),
            Some("COMPOSITE") if self == Algorithm::Crc64Nvme => cannot("COMPOSITE"),
            Some("FULL_OBJECT") => Ok(SumKind::Full),
            Some("COMPOSITE") => Ok(SumKind::Composite),
            Some(_) => Err(invalid_request("Value for x-amz-checksum-type header is invalid.")),
        }
    }
}

impl SumKind {
    pub fn name(self) -> &'static str {
        match self {
            SumKind::Full => "FULL_OBJECT",
            SumKind::Composite => "COMPOSITE",
        }
    }
}

/// What the client says its bytes come to.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The MD5 in `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// A checksum in a header, or `None` for its value if it comes in the trailer.
    pub sum: Option<(Algorithm, Option<String>)>,
}

impl Claims {
    /// Reads the claims of a request. `trailer` is its `x-amz-trailer` header, `named` its
    /// `x-amz-sdk-checksum-algorithm`.
    pub fn of(
        md5: Option<&str>,
        sums: Vec<(Algorithm, String)>,
        trailer: Option<&str>,
        named: Option<&str>,
    ) -> Result<Self> {
        let md5 = md5
            .map(|text| {
                let bytes = STANDARD.decode(text).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
                bytes.ok_or_else(|| refused("InvalidDigest", "The Content-MD5 you specified was invalid."))
            })
            .transpose()?;
        let promised = trailer.into_iter().flat_map(|t| t.split(',')).map(str::trim);
        let promised: Vec<Algorithm> =
            promised.filter_map(|t| Algorithm::ALL.into_iter().find(|a| a.header() == t)).collect();
        if sums.len() + promised.len() > 1 {
            return Err(invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        for (algorithm, value) in &sums {
            if !STANDARD.decode(value).is_ok_and(|b| b.len() == algorithm.bytes()) {
                return Err(invalid_request(format!("Value for {} header is invalid.", algorithm.header())));
            }
        }
        let sum = sums.into_iter().map(|(a, v)| (a, Some(v))).chain(promised.into_iter().map(|a| (a, None))).next();
        if let (Some(named), Some((algorithm, _))) = (named, &sum)
            && Algorithm::parse(named)? != *algorithm
        {
            return Err(invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        if let (Some(named), None) = (named, &sum) {
            Algorithm::parse(named)?;
            return Err(invalid_request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                 headers were found.",
            ));
        }
        Ok(Self { md5, sum })
    }
}

/// Hashes bytes as they pass: MD5 for the ETag, and the wanted checksums.
pub struct Digester {
    md5: Md5,
    sums: ChecksumHasher,
}

/// What the bytes came to.
pub struct Digest {
    pub md5: [u8; 16],
    pub sums: Vec<Sum>,
}

impl Digester {
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let mut sums = ChecksumHasher::default();
        for algorithm in algorithms {
            match algorithm {
                Algorithm::Crc32 => sums.crc32 = Some(Crc32::new()),
                Algorithm::Crc32c => sums.crc32c = Some(Crc32c::new()),
                Algorithm::Crc64Nvme => sums.crc64nvme = Some(Crc64Nvme::new()),
                Algorithm::Sha1 => sums.sha1 = Some(Sha1::new()),
                Algorithm::Sha256 => sums.sha256 = Some(Sha256::new()),
            }
        }
        Self { md5: Md5::new(), sums }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    pub fn finish(self) -> Digest {
        let all = self.sums.finalize();
        let found = [
            (Algorithm::Crc32, all.checksum_crc32),
            (Algorithm::Crc32c, all.checksum_crc32c),
            (Algorithm::Crc64Nvme, all.checksum_crc64nvme),
            (Algorithm::Sha1, all.checksum_sha1),
            (Algorithm::Sha256, all.checksum_sha256),
        ];
        let sums = found
            .into_iter()
            .filter_map(|(algorithm, value)| value.map(|value| Sum { algorithm, kind: SumKind::Full, value }));
        Digest { md5: self.md5.finalize(), sums: sums.collect() }
    }
}

impl Digest {
    pub fn sum(&self, algorithm: Algorithm) -> Option<&Sum> {
        self.sums.iter().find(|s| s.algorithm == algorithm)
    }

    /// Refuses bytes that are not what the client claimed; `trailers` are the request's, if it had any.
    pub fn verify(&self, claims: &Claims, trailers: Option<&http::HeaderMap>) -> Result<()> {
        if claims.md5.is_some_and(|claimed| claimed != self.md5) {
            return Err(refused("BadDigest", "The Content-MD5 you specified did not match what we received."));
        }
        let Some((algorithm, claimed)) = &claims.sum else { return Ok(()) };
        let in_trailer = || trailers.and_then(|t| t.get(algorithm.header())).and_then(|v| v.to_str().ok());
        let claimed = match claimed {
            Some(value) => value,
            None => in_trailer().ok_or_else(|| {
                refused("MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
            })?,
        };
        if self.sum(*algorithm).is_none_or(|s| s.value != *claimed) {
            return Err(refused(
                "BadDigest",
                format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
            ));
        }
        Ok(())
    }
}

/// The checksum of an object made of `parts` (each checksum with the part's size), or `None` if a part has none.
pub fn of_parts(algorithm: Algorithm, kind: SumKind, parts: &[(Option<&Sum>, u64)]) -> Option<Sum> {
    let mut raw = Vec::with_capacity(parts.len());
    for (sum, size) in parts {
        let sum = sum.filter(|s| s.algorithm == algorithm)?;
        raw.push((STANDARD.decode(&sum.value).ok()?, *size));
    }
    let value = match (kind, algorithm.crc()) {
        (SumKind::Full, Some(crc)) => {
            let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, &b| n << 8 | u64::from(b));
            let mut parts = raw.iter().map(|(bytes, size)| (number(bytes), *size));
            let (first, _) = parts.next()?;
            let whole = parts.fold(first, |sum, (part, size)| crc_fast::checksum_combine(crc, sum, part, size));
            STANDARD.encode(&whole.to_be_bytes()[8 - algorithm.bytes()..])
        }
        (SumKind::Full, None) => return None,
        (SumKind::Composite, _) => {
            let mut all = Digester::new(&[algorithm]);
            raw.iter().for_each(|(bytes, _)| all.update(bytes));
            format!("{}-{}", all.finish().sum(algorithm)?.value, parts.len())
        }
    };
    Some(Sum { algorithm, kind, value })
}

/// The ETag of an object made of parts with these MD5s: the MD5 of them all and how many they are.
pub fn etag_of_parts<'a>(md5s: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = md5s.len();
    let mut all = Md5::new();
    for md5 in md5s {
        all.update(&hex::decode(md5).unwrap_or_default());
    }
    format!("{}-{count}", hex::encode(all.finalize()))
}

/// Fills the five checksum fields of an `s3s` output from an optional [`Sum`].
macro_rules! set_sum {
    ($out:expr, $sum:expr) => {
        if let Some(sum) = $sum {
            let value = Some(sum.value.clone());
            match sum.algorithm {
                $crate::digest::Algorithm::Crc32 => $out.checksum_crc32 = value,
                $crate::digest::Algorithm::Crc32c => $out.checksum_crc32c = value,
                $crate::digest::Algorithm::Crc64Nvme => $out.checksum_crc64nvme = value,
                $crate::digest::Algorithm::Sha1 => $out.checksum_sha1 = value,
                $crate::digest::Algorithm::Sha256 => $out.checksum_sha256 = value,
            }
        }
    };
}
pub(crate) use set_sum;

/// The checksums an `s3s` input carries in its five fields.
macro_rules! sums_in {
    ($input:expr) => {{
        use $crate::digest::Algorithm;
        let found = [
            (Algorithm::Crc32, $input.checksum_crc32.clone()),
            (Algorithm::Crc32c, $input.checksum_crc32c.clone()),
            (Algorithm::Crc64Nvme, $input.checksum_crc64nvme.clone()),
            (Algorithm::Sha1, $input.checksum_sha1.clone()),
            (Algorithm::Sha256, $input.checksum_sha256.clone()),
        ];
        found.into_iter().filter_map(|(a, v)| v.map(|v| (a, v))).collect::<Vec<(Algorithm, String)>>()
    }};
}
pub(crate) use sums_in;

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(bytes: &[u8]) -> Digest {
        let mut d = Digester::new(&Algorithm::ALL);
        d.update(bytes);
        d.finish()
    }

    #[test]
    fn known_values() {
        let d = sums(b"123456789");
        let value = |a| d.sum(a).expect("asked for").value.clone();
        assert_eq!(value(Algorithm::Crc32), STANDARD.encode(0xcbf4_3926u32.to_be_bytes()));
        assert_eq!(value(Algorithm::Crc32c), STANDARD.encode(0xe306_9283u32.to_be_bytes()));
        assert_eq!(value(Algorithm::Crc64Nvme), STANDARD.encode(0xae8b_1486_0a79_9888u64.to_be_bytes()));
    }

    #[test]
    fn sums_of_parts_make_the_sum_of_the_whole() {
        let (a, b, c) = (vec![7u8; 1000], vec![9u8; 77], vec![1u8; 5]);
        let whole = sums(&[a.clone(), b.clone(), c.clone()].concat());
        let parts = [(sums(&a), 1000), (sums(&b), 77), (sums(&c), 5)];
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<_> = parts.iter().map(|(d, n)| (d.sum(algorithm), *n)).collect();
            assert_eq!(of_parts(algorithm, SumKind::Full, &parts).as_ref(), whole.sum(algorithm));
        }
    }

    #[test]
    fn claims_are_checked() {
        let none = || Claims::of(None, vec![], None, None);
        assert!(none().expect("nothing claimed").sum.is_none());
        assert!(Claims::of(Some("short"), vec![], None, None).is_err());
        assert!(Claims::of(None, vec![(Algorithm::Crc32, "AAAA".into())], None, None).is_err());
        assert!(
            Claims::of(None, vec![(Algorithm::Crc32, "AAAAAA==".into())], Some("x-amz-checksum-sha1"), None).is_err()
        );
        assert!(Claims::of(None, vec![], None, Some("CRC32")).is_err());
        let claims = Claims::of(None, vec![(Algorithm::Crc32, "AAAAAA==".into())], None, Some("CRC32")).expect("valid");
        assert!(sums(b"x").verify(&claims, None).is_err());
        assert!(sums(b"").verify(&claims, None).is_ok());
    }
}
