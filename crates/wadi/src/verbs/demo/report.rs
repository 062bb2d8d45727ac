//! The demo's table: each upload, which instance ran, cold or warm, how long, what was billed, where the variants lie.

use super::BUCKET;
use super::watch::{Fate, SIZES};
use crate::error::{Error, Result};
use crate::show;
use serde_json::{Value, json};

pub fn as_text(fates: &[Fate], run: &str) -> String {
    let rows = fates.iter().map(row);
    let table = show::table(
        &["upload", ">size", ">pixels", "instance", "start", ">duration", ">billed", ">memory", "variants"],
        rows,
    );
    let broken = fates.iter().filter(|f| !f.whole && f.wrong().is_none()).count();
    let sizes = SIZES.map(|size| size.to_string()).join(",");
    let mut text = format!(
        "photographs  s3://{BUCKET}/photos/{run}/<upload>\n\
         variants     s3://{BUCKET}/thumbnails/{{{sizes}}}/{run}/<upload>\n\n{table}"
    );
    if broken > 0 {
        text.push_str(
            "\n\nA truncated file fails, as it must; Lambda's rules have it tried twice more, one and three minutes later, and \
             then give it up. Nobody waited for it.",
        );
    }
    text
}

/// The same for programs; `Wrong` says why an upload's fate is not what it should be, null if it is.
pub fn as_json(fates: &[Fate]) -> Value {
    let with_verdict = |fate: &Fate| {
        let mut value = json!(fate);
        value["Wrong"] = json!(fate.wrong());
        value
    };
    fates.iter().map(with_verdict).collect()
}

fn row(fate: &Fate) -> Vec<String> {
    let mut cells = vec![
        fate.photo.clone(),
        show::size(fate.bytes),
        if fate.width > 0 { format!("{}×{}", fate.width, fate.height) } else { "?".into() },
    ];
    match &fate.run {
        Some(run) => cells.extend([
            fate.instance.clone(),
            run.start.clone(),
            format!("{:.1} ms", run.duration_us as f64 / 1e3),
            format!("{} ms", run.billed_ms),
            format!("{} MB", run.max_memory_mb),
        ]),
        None => cells.extend(std::iter::repeat_n("-".to_owned(), 5)),
    }
    cells.push(result(fate));
    cells
}

fn result(fate: &Fate) -> String {
    if let Some(wrong) = fate.wrong() {
        return format!("WRONG: {wrong}");
    }
    if let Some(kind) = fate.run.as_ref().and_then(|r| r.error.as_ref()) {
        return format!("failed: {}", fate.failure.as_ref().unwrap_or(kind));
    }
    let variants = fate.variants.iter().zip(SIZES).map(|(v, size)| format!("{size}: {}×{}", v.width, v.height));
    variants.collect::<Vec<_>>().join(", ")
}

/// An error if anything went otherwise than it should.
pub fn verdict(fates: &[Fate]) -> Result<()> {
    let wrong: Vec<String> = fates.iter().filter_map(|f| Some(format!("{}: {}", f.photo, f.wrong()?))).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::told(
        format!("{} of {} uploads went wrong\n{}", wrong.len(), fates.len(), wrong.join("\n")),
        format!(
            "`wadi logs {} --since 10m` shows what the function said, `wadi doctor` what the machine lacks",
            super::FUNCTION
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::wadi::InvocationRecord;
    use crate::verbs::demo::watch::Variant;

    fn fate(whole: bool, error: Option<&str>) -> Fate {
        let run = InvocationRecord {
            start: "cold".into(),
            duration_us: 812_340,
            billed_ms: 1_200,
            max_memory_mb: 210,
            error: error.map(Into::into),
            ..Default::default()
        };
        let variant =
            |size: u32| Variant { key: format!("thumbnails/{size}/r/a.jpg"), bytes: 1, width: size, height: size / 2 };
        Fate {
            photo: "a.jpg".into(),
            bytes: 1_200_000,
            width: 4000,
            height: 2000,
            whole,
            run: Some(run),
            instance: "0123abcd".into(),
            failure: error.map(|_| "OSError: image file is truncated".into()),
            variants: if error.is_none() { vec![variant(1024), variant(256)] } else { Vec::new() },
        }
    }

    #[test]
    fn what_went_well_and_what_failed_as_it_must() {
        let fates = [fate(true, None), fate(false, Some("OSError"))];
        let text = as_text(&fates, "r");
        for part in ["1.2 MB", "4000×2000", "0123abcd", "cold", "812.3 ms", "1200 ms", "210 MB"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.contains("thumbnails/{1024,256}/r/<upload>"), "{text}");
        assert!(text.contains("1024: 1024×512, 256: 256×128"), "{text}");
        assert!(text.contains("failed: OSError: image file is truncated"), "{text}");
        assert!(verdict(&fates).is_ok());
    }

    #[test]
    fn what_went_wrong_makes_the_demo_fail() {
        for fates in [[fate(true, Some("MemoryError"))], [fate(false, None)]] {
            assert!(as_text(&fates, "r").contains("WRONG"));
            assert!(as_json(&fates)[0]["Wrong"].is_string());
            assert_eq!(verdict(&fates).expect_err("wrong").exit_code(), 1);
        }
    }
}
