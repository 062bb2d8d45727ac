//! Host names that mean S3, and the bucket in them: `<bucket>.s3.localhost`, `<bucket>.s3.<region>.localhost`.

/// `host` without its port, in lower case; `None` if it is not one of S3's names under `domains`.
fn labels(host: &str, domains: &[String]) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    domains.iter().find_map(|d| name.strip_suffix(d.as_str())?.strip_suffix('.').map(str::to_owned))
}

/// Is `host` one of S3's names: `s3.…`, `<bucket>.s3.…`, with or without a region?
pub fn is_s3(host: &str, domains: &[String]) -> bool {
    labels(host, domains).is_some_and(|l| split(&l).is_some())
}

/// The bucket in a virtual-hosted-style `host`.
pub fn bucket_in(host: &str, domains: &[String]) -> Option<String> {
    split(&labels(host, domains)?)?.map(str::to_owned)
}

/// `a.b.s3`, `a.b.s3.eu-west-1` → `Some(Some("a.b"))`; `s3`, `s3.eu-west-1` → `Some(None)`; else `None`.
fn split(labels: &str) -> Option<Option<&str>> {
    let before = |labels: &str| -> bool { labels == "s3" || labels.ends_with(".s3") };
    let with_s3 = match labels.rsplit_once('.') {
        _ if before(labels) => labels,
        Some((rest, _region)) if before(rest) => rest,
        _ => return None,
    };
    Some(with_s3.strip_suffix(".s3").filter(|bucket| !bucket.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_in_hosts() {
        let domains = ["localhost".to_owned()];
        let bucket = |host| bucket_in(host, &domains);
        assert_eq!(bucket("photos.s3.localhost:4566").as_deref(), Some("photos"));
        assert_eq!(bucket("My.photos.S3.us-east-1.localhost").as_deref(), Some("my.photos"));
        for host in
            ["s3.localhost", "s3.eu-west-1.localhost:1", "localhost:4566", "127.0.0.1", "x.localhost", "[::1]:80"]
        {
            assert_eq!(bucket(host), None, "{host}");
        }
        assert!(is_s3("s3.localhost:4566", &domains) && is_s3("a.s3.localhost", &domains));
        assert!(!is_s3("abc.lambda-url.us-east-1.localhost", &domains) && !is_s3("localhost", &domains));
    }
}
