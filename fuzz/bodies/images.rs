//! The bodies of the fuzz targets for images: plain functions that panic where an invariant does not hold.

/// Any bytes as an image's manifest and, after the first zero byte, its configuration: what is taken is within bounds.
pub fn manifest(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (manifest, config) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    if let Ok(image) = images::read(manifest, config) {
        assert!((1..=127).contains(&image.layers.len()) && image.bytes() <= images::IMAGE_BYTES_MAX);
        let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(image.layers.iter().all(|layer| hex(&layer.sha256) && hex(&layer.diff_sha256)));
        assert_eq!(image.blobs().len(), image.layers.len());
    }
}

/// Any bytes as a layer: it is read to an end, within what it may have.
pub fn layer(data: &[u8]) {
    let _ = images::look_through(data, 1 << 20, 100);
}
