//! `wadi list`: the functions there are.

use crate::client::{Client, lambda::Configuration};
use crate::error::Result;
use crate::show;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

/// ListFunctions does not say state or URL; they are asked for so many functions at a time.
const ASKED_AT_ONCE: usize = 8;

const EXAMPLES: &str = "\
Examples:
  wadi list
  wadi list --json | jq -r '.[].FunctionName'";

/// List the functions
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct List {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(flatten)]
    function: Configuration,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_url: Option<String>,
}

pub async fn run(client: &Client, json: bool) -> Result<()> {
    let rows: Vec<Row> = futures::stream::iter(client.functions().await?)
        .map(|function| async move {
            let function_url = client.function_url(&function.function_name).await?;
            let whole = match function.state {
                Some(_) => None,
                None => client.function(&function.function_name).await?,
            };
            Ok::<_, crate::Error>(Row { function: whole.unwrap_or(function), function_url })
        })
        .buffered(ASKED_AT_ONCE)
        .try_collect()
        .await?;
    if json {
        return show::json(&rows);
    }
    if rows.is_empty() {
        eprintln!("wadi: no functions in {} yet; `wadi deploy DIR` makes one", client.region);
        return Ok(());
    }
    show::line(table(&rows));
    Ok(())
}

fn table(rows: &[Row]) -> String {
    show::table(
        &["name", "runtime", ">memory", ">timeout", "state", "last modified", "url"],
        rows.iter().map(|Row { function: f, function_url }| {
            vec![
                f.function_name.clone(),
                f.runtime.clone().unwrap_or_else(|| "-".into()),
                format!("{} MB", f.memory_size),
                format!("{} s", f.timeout),
                f.state.clone().unwrap_or_else(|| "-".into()),
                f.last_modified.split('.').next().unwrap_or_default().to_owned(),
                function_url.clone().unwrap_or_else(|| "-".into()),
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_table_and_json() {
        let function: Configuration = serde_json::from_str(
            r#"{"FunctionName":"f","Runtime":"python3.12","MemorySize":512,"Timeout":3,"State":"Active",
                "LastModified":"2026-11-23T15:51:04.123+0000","SomethingNew":1}"#,
        )
        .expect("configuration");
        let rows = [Row { function, function_url: Some("http://u/".into()) }];
        let text = table(&rows);
        assert!(text.ends_with("f     python3.12  512 MB      3 s  Active  2026-11-23T15:51:04  http://u/"), "{text}");
        let json = serde_json::to_value(&rows).expect("json");
        assert_eq!((&json[0]["FunctionName"], &json[0]["FunctionUrl"]), (&"f".into(), &"http://u/".into()));
    }
}
