//! `wadi usage`: what each function did and what it cost.

use crate::client::{Client, wadi::FunctionUsage};
use crate::error::Result;
use crate::prices::PriceBook;
use crate::show;
use crate::values::{duration, since_ms};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  wadi usage                        since the beginning, at AWS's public rates
  wadi usage --since 24h
  wadi usage --prices ours.toml     a book of your own:
                                      name = \"our rates\"
                                      currency = \"EUR\"
                                      per_million_requests = 0.10
                                      per_gb_second = 0.000008

GB-seconds are the memory configured times the time billed, which is handler and initialisation rounded up to the
millisecond, as on AWS.";

/// Show what each function did and what it cost
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Usage {
    /// The price book, a TOML file [default: AWS's public rates]
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// From how long ago: 30m, 24h, 7d [default: the beginning]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    since: Option<Duration>,
}

pub async fn run(usage: Usage, client: &Client, json: bool) -> Result<()> {
    let book = PriceBook::load(usage.prices.as_deref())?;
    let functions = client.usage(since_ms(usage.since)).await?;
    if json {
        return show::json(&as_json(&functions, &book));
    }
    if functions.is_empty() {
        eprintln!("wadi: nothing has run in {} in that time", client.region);
        return Ok(());
    }
    show::line(as_text(&functions, &book));
    Ok(())
}

fn total(functions: &[FunctionUsage]) -> FunctionUsage {
    functions.iter().fold(FunctionUsage { function_name: "total".into(), ..Default::default() }, |mut sum, f| {
        sum.invocations += f.invocations;
        sum.errors += f.errors;
        sum.cold_starts += f.cold_starts;
        sum.duration_ms += f.duration_ms;
        sum.init_ms += f.init_ms;
        sum.billed_ms += f.billed_ms;
        sum.gb_seconds += f.gb_seconds;
        sum.bytes_in += f.bytes_in;
        sum.bytes_out += f.bytes_out;
        sum.network_bytes += f.network_bytes;
        sum.max_memory_mb = sum.max_memory_mb.max(f.max_memory_mb);
        sum
    })
}

/// The table, its total and how the total comes about.
pub fn as_text(functions: &[FunctionUsage], book: &PriceBook) -> String {
    let total = total(functions);
    let row = |f: &FunctionUsage| {
        vec![
            f.function_name.clone(),
            f.invocations.to_string(),
            f.errors.to_string(),
            f.cold_starts.to_string(),
            format!("{:.1} s", f.billed_ms as f64 / 1e3),
            format!("{:.3}", f.gb_seconds),
            show::size(f.network_bytes),
            book.money(book.cost(f.invocations, f.gb_seconds)),
        ]
    };
    let table = show::table(
        &["function", ">invocations", ">errors", ">cold starts", ">billed", ">GB-seconds", ">network", ">cost"],
        functions.iter().chain([&total]).map(row),
    );
    format!("{table}\n\n{}", book.explain(&total))
}

/// The same for programs.
pub fn as_json(functions: &[FunctionUsage], book: &PriceBook) -> Value {
    let with_cost = |f: &FunctionUsage| {
        let mut value = json!(f);
        value["Cost"] = json!(book.cost(f.invocations, f.gb_seconds));
        value
    };
    let total = total(functions);
    json!({
        "Functions": functions.iter().map(with_cost).collect::<Vec<_>>(),
        "Total": with_cost(&total),
        "Prices": book,
        "Explanation": book.explain(&total),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Vec<FunctionUsage> {
        let one = |name: &str, invocations, gb_seconds| FunctionUsage {
            function_name: name.into(),
            invocations,
            errors: 1,
            cold_starts: 1,
            billed_ms: 1_500,
            gb_seconds,
            ..Default::default()
        };
        vec![one("a", 1_000_000, 0.5), one("b", 500_000, 1.0)]
    }

    #[test]
    fn totals_are_the_sum_and_are_explained() {
        let text = as_text(&functions(), &PriceBook::aws());
        let last_row = text.lines().nth(3).expect("total row");
        assert_eq!(
            last_row.split_whitespace().collect::<Vec<_>>(),
            ["total", "1500000", "2", "2", "3.0", "s", "1.500", "0", "B", "0.30002500", "USD"]
        );
        assert!(text.contains("1500000 requests × 0.2 USD per million + 1.500 GB-s"), "{text}");
    }

    #[test]
    fn json_has_costs_that_add_up() {
        let value = as_json(&functions(), &PriceBook::aws());
        let costs: f64 = value["Functions"].as_array().expect("list").iter().filter_map(|f| f["Cost"].as_f64()).sum();
        assert!((value["Total"]["Cost"].as_f64().expect("cost") - costs).abs() < 1e-9);
        assert_eq!(value["Functions"][0]["FunctionName"], "a");
    }
}
