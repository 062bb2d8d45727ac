//! `wadi demo`: the main job on real input. Photographs go up, a function runs, thumbnails come back, and every
//! upload's fate is told from what the public API says of it.

mod photos;
mod report;
mod watch;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::package::{self, Wishes, python};
use crate::prices::PriceBook;
use crate::show::{self, Work};
use crate::values::now_ms;
use crate::verbs::{deploy, usage};
use base::Timestamp;
use futures::{StreamExt, TryStreamExt};
use node::{Flags, Node, Settings};
use photos::Photo;
use serde_json::json;
use std::path::{Path, PathBuf};

const FUNCTION: &str = "wadi-demo-thumbnails";
const BUCKET: &str = "wadi-demo-photos";
const UPLOADS_AT_ONCE: usize = 4;
const DELETES_AT_ONCE: usize = 8;
/// A 24 megapixel picture is 72 MB in memory, twice while it is turned.
const MEMORY_MB: u32 = 1024;
const TIMEOUT_S: u32 = 60;

/// The example as a user would have it in a directory; carried along so that an installed binary has it too.
const EXAMPLE: [(&str, &str); 2] = [
    ("lambda_function.py", include_str!("../../../../../examples/thumbnails/lambda_function.py")),
    ("requirements.txt", include_str!("../../../../../examples/thumbnails/requirements.txt")),
];

const EXAMPLES: &str = "\
Examples:
  wadi demo                        public-domain pictures from PyPI's scikit-image, and large ones made of them
  wadi demo --photos ~/Pictures    your own JPEG and PNG files, up to 200
  wadi demo --json

It uses the node at the endpoint, or runs one of its own on a free port with the usual data directory, and stops it
afterwards. One upload is a truncated file: it must fail, be seen to fail, and hold up nobody else. Photographs and
thumbnails stay in the bucket wadi-demo-photos until the next run, or longer with --keep. It needs Python with pip, and
PyPI the first time.";

/// Photographs in, thumbnails out: see the whole thing work
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// A directory with your own photographs
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Leave what earlier runs have stored
    #[arg(long)]
    keep: bool,
}

/// `endpoint_named`: the user said which node, so none is started instead of it.
pub async fn run(demo: Demo, client: Client, json: bool, endpoint_named: bool) -> Result<()> {
    if client.is_up().await {
        eprintln!("wadi: using the node at {}", client.endpoint());
        return play(&demo, &client, json).await;
    }
    if endpoint_named {
        return Err(Error::NoNode { endpoint: client.endpoint().into(), cause: "--endpoint names it".into() });
    }
    let flags = Flags { listen: Some(([127, 0, 0, 1], 0).into()), ..Flags::default() };
    let settings = Settings::load(flags)?;
    let data_dir = settings.data_dir.display().to_string();
    let node = Node::start(settings).await.map_err(|e| {
        Error::told(format!("the node did not start: {e:#}"), "`wadi doctor` looks at what the machine offers")
    })?;
    let client = client.at(node.address());
    eprintln!("wadi: started a node at {} for the demo (data in {data_dir})", client.endpoint());
    let played = tokio::select! {
        played = play(&demo, &client, json) => played,
        _ = tokio::signal::ctrl_c() => Err(Error::bare("interrupted")),
    };
    node.stop().await;
    played
}

async fn play(demo: &Demo, client: &Client, json: bool) -> Result<()> {
    let began = now_ms();
    let run = run_id(Timestamp(began));
    let (_guard, example) = example_dir()?;
    let (_, interpreter) = python::choose(&python::installed(), None, true)?;
    let interpreter = interpreter.ok_or_else(|| Error::bare("there is no Python interpreter on this machine"))?;
    let site = python::install(&interpreter, &example).await?;
    let photos = photos::gather(demo.photos.as_deref(), &interpreter, site.path()).await?;

    let function_arn = deploy_example(client, &example).await?;
    connect(client, &function_arn, demo.keep).await?;
    upload(client, &photos.all, &run).await?;
    let fates = watch::fates(client, &photos.all, &run).await?;
    let usage = client.usage(began).await?;
    let book = PriceBook::aws();
    if json {
        show::json(&json!({
            "Endpoint": client.endpoint(),
            "Bucket": BUCKET,
            "Run": run,
            "Uploads": report::as_json(&fates),
            "Usage": usage::as_json(&usage, &book),
        }))?;
    } else {
        show::line(report::as_text(&fates, &run));
        show::line(format!("\n{}", usage::as_text(&usage, &book)));
    }
    report::verdict(&fates)
}

/// Names a run after its time, so that runs do not meet: `20261123-155104-123`.
fn run_id(at: Timestamp) -> String {
    let (y, mo, d, h, mi, s, ms) = at.civil();
    format!("{y:04}{mo:02}{d:02}-{h:02}{mi:02}{s:02}-{ms:03}")
}

/// The example in a directory, as a user would have it. The guard removes it.
fn example_dir() -> Result<(tempfile::TempDir, PathBuf)> {
    let guard = tempfile::tempdir().map_err(|e| Error::bare(format!("no temporary directory: {e}")))?;
    let dir = guard.path().join("thumbnails");
    std::fs::create_dir(&dir).map_err(crate::error::at(&dir))?;
    for (name, text) in EXAMPLE {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(crate::error::at(&path))?;
    }
    Ok((guard, dir))
}

async fn deploy_example(client: &Client, example: &Path) -> Result<String> {
    let package = package::build(example, &Wishes::default()).await?;
    let plan =
        deploy::Plan { name: FUNCTION.into(), memory: Some(MEMORY_MB), timeout: Some(TIMEOUT_S), ..Default::default() };
    Ok(deploy::put(client, &plan, &deploy::Code::Package(package)).await?.function.function_arn)
}

/// The bucket, empty unless its content is to be kept, and the way from it to the function.
async fn connect(client: &Client, function_arn: &str, keep: bool) -> Result<()> {
    client.make_bucket(BUCKET).await?;
    if !keep {
        let old = client.list_objects(BUCKET, "").await?;
        futures::stream::iter(old)
            .map(|object| async move { client.delete_object(BUCKET, &object.key).await })
            .buffer_unordered(DELETES_AT_ONCE)
            .try_collect::<()>()
            .await?;
    }
    let permission = json!({
        "StatementId": "photos", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
        "SourceArn": format!("arn:aws:s3:::{BUCKET}"),
    });
    client.allow(FUNCTION, &permission).await?;
    client.notify_function(BUCKET, function_arn, "photos/").await
}

async fn upload(client: &Client, photos: &[Photo], run: &str) -> Result<()> {
    let total = photos.iter().map(|p| p.bytes).sum();
    let work = Work::bytes(format!("uploading {} photographs to s3://{BUCKET}/photos/{run}/", photos.len()), total);
    let counter = work.counter();
    futures::stream::iter(photos)
        .map(|photo| {
            let (key, sent) = (photo.key(run), counter.clone());
            async move { client.put_file(BUCKET, &key, &photo.file, sent).await }
        })
        .buffer_unordered(UPLOADS_AT_ONCE)
        .try_collect::<()>()
        .await?;
    work.done(format!("uploaded {} photographs, {}", photos.len(), show::size(total)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_after_their_time() {
        assert_eq!(run_id(Timestamp(1_795_449_064_123)), "20261123-155104-123");
    }

    #[test]
    fn the_example_carried_along_has_a_handler() {
        let (_guard, dir) = example_dir().expect("example");
        let kind = package::convention::detect(&dir, &Wishes::default()).expect("detected");
        let expect = package::convention::Kind::Python { handler: "lambda_function.lambda_handler".into() };
        assert_eq!(kind, expect);
    }
}
