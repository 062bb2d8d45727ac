//! `wadi deploy`: a directory, or a WebAssembly component, becomes a function that answers at a URL.

use crate::client::{Client, lambda::Configuration};
use crate::error::{Error, Result};
use crate::package::{self, Package, Wishes};
use crate::show::{self, Work, size};
use crate::values::pair;
use base64::Engine;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  wadi deploy ./thumbnails
  wadi deploy . --name api --memory 512 --timeout 30 --env STAGE=test --env LEVEL=debug
  wadi deploy ./worker --no-url --runtime python3.12 --handler worker.run
  wadi deploy ./target/lambda/api         a directory with an executable named `bootstrap`
  wadi deploy ./hello.wasm                a WebAssembly component (wasi:http/proxy or wasi:cli/command)
  wadi deploy --image 127.0.0.1:5000/api:latest   a container image that speaks the Runtime API

By convention the handler is lambda_handler, handler or main in lambda_function.py, app.py, handler.py, main.py or
index.py, or what index, app, handler or main (.mjs, .js or .cjs) exports as handler or lambdaHandler; the runtime is
the newest Python or Node.js here that AWS has too. requirements.txt, or the dependencies of package.json, are installed
into the package. A function of that name is updated: code and what the flags say; the rest stays as it is. The URL is
open to everybody who can reach the node; --no-url makes none.";

/// Build, create or update, wait until active, print the URL
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Deploy {
    /// The directory with the code, or a WebAssembly component
    #[arg(value_name = "PATH", required_unless_present = "image")]
    dir: Option<PathBuf>,
    /// A container image in the place of a directory: a registry's, or oci:/directory[:tag], oci-archive:/file.tar[:tag]
    #[arg(long, value_name = "REFERENCE", conflicts_with_all = ["dir", "runtime", "handler"])]
    image: Option<String>,
    /// The function's name [default: the directory's, the file's without .wasm, or the image's last part]
    #[arg(long)]
    name: Option<String>,
    /// python3.9 to python3.14, nodejs20.x and newer, or provided.al2023 [default: by convention]
    #[arg(long)]
    runtime: Option<String>,
    /// MODULE.FUNCTION [default: by convention]
    #[arg(long)]
    handler: Option<String>,
    /// Megabytes [default for a new function: 256]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(128..=10_240))]
    memory: Option<u32>,
    /// Seconds one run may take [default for a new function: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=900))]
    timeout: Option<u32>,
    /// A variable of its environment (may be given again; together they replace the environment)
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    environment: Vec<(String, String)>,
    /// Give it a public URL (that is the default)
    #[arg(long, overrides_with = "no_url")]
    url: bool,
    /// Give it no URL
    #[arg(long)]
    no_url: bool,
    /// Let its URL answer while the function still writes (InvokeMode RESPONSE_STREAM)
    #[arg(long, conflicts_with = "no_url")]
    stream: bool,
    /// The network it is in: none, platform, internet, host or one of the node's own (VpcConfig) [default: the node's]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// The role it runs as [default for a new function: one named after it]
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
}

/// What a function is made of.
#[derive(Debug)]
pub enum Code {
    Package(Package),
    /// A reference.
    Image(String),
}

/// A function as it should be.
#[derive(Debug, Default)]
pub struct Plan {
    pub name: String,
    pub memory: Option<u32>,
    pub timeout: Option<u32>,
    /// Empty: as it is.
    pub environment: BTreeMap<String, String>,
    pub role: Option<String>,
    pub network: Option<String>,
    pub url: bool,
    /// The URL streams; else it is as it is.
    pub stream: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deployed {
    #[serde(flatten)]
    pub function: Configuration,
    pub created: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_url: Option<String>,
}

pub async fn run(deploy: Deploy, client: &Client, json: bool) -> Result<()> {
    let name = match (deploy.name, &deploy.dir, &deploy.image) {
        (Some(name), ..) => name,
        (None, Some(dir), _) => name_of(dir)?,
        (None, None, image) => fit(name_of_image(image.as_deref().unwrap_or_default()))?,
    };
    let wishes = Wishes { runtime: deploy.runtime, handler: deploy.handler };
    // Before the long work: is there something to deploy, and somebody to deploy it to?
    if let Some(dir) = &deploy.dir {
        package::convention::detect(dir, &wishes)?;
    }
    client.function(&name).await?;
    let code = match (deploy.dir, deploy.image) {
        (Some(dir), _) => Code::Package(package::build(&dir, &wishes).await?),
        (None, image) => Code::Image(image.unwrap_or_default()),
    };
    let plan = Plan {
        name,
        memory: deploy.memory,
        timeout: deploy.timeout,
        environment: deploy.environment.into_iter().collect(),
        role: deploy.role,
        network: deploy.network,
        url: !deploy.no_url,
        stream: deploy.stream,
    };
    let deployed = put(client, &plan, &code).await?;
    if json {
        return show::json(&deployed);
    }
    let f = &deployed.function;
    let what = match &code {
        Code::Image(image) => image.clone(),
        Code::Package(_) => {
            let (runtime, handler) = (f.runtime.as_deref().unwrap_or("-"), f.handler.as_deref().unwrap_or("-"));
            format!("{runtime}, {handler}, {}", size(f.code_size))
        }
    };
    show::line(format!(
        "{} {} ({what}, {} MB, version {})",
        if deployed.created { "created" } else { "updated" },
        f.function_name,
        f.memory_size,
        f.version,
    ));
    if let Some(url) = &deployed.function_url {
        show::line(url);
    }
    Ok(())
}

/// The directory's or the component's own name, if a function may have it.
fn name_of(dir: &Path) -> Result<String> {
    let whole = dir.canonicalize().map_err(|e| {
        Error::usage(format!("{}: {e}", dir.display()), "`wadi deploy PATH` takes the directory with the code")
    })?;
    let name = if whole.is_file() { whole.file_stem() } else { whole.file_name() };
    fit(name.and_then(|n| n.to_str()).unwrap_or_default())
}

/// The last part of an image's repository, or of its path.
fn name_of_image(image: &str) -> &str {
    let last = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default().trim_end_matches(".tar")
}

/// The name, if a function may have it.
fn fit(name: &str) -> Result<String> {
    let fits =
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits {
        return Ok(name.to_owned());
    }
    Err(Error::usage(
        format!("{name:?} cannot be a function's name (letters, digits, - and _, at most 64)"),
        "give one with --name",
    ))
}

/// Creates or updates the function and waits until it can run.
pub async fn put(client: &Client, plan: &Plan, code: &Code) -> Result<Deployed> {
    let name = &plan.name;
    let work = Work::start(format!("deploying {name}"));
    let created = client.function(name).await?.is_none();
    if created {
        client.create_function(&creation(plan, code)).await?;
    } else {
        client.settled(name).await?;
        client.update_code(name, &source(code)).await?;
        work.now(format!("deploying {name}: waiting for its code"));
        client.settled(name).await?;
        client.update_configuration(name, &update(plan, code)).await?;
    }
    work.now(format!("deploying {name}: waiting until it is active"));
    let function = client.settled(name).await?;
    let function_url = if plan.url { Some(client.open_url(name).await?) } else { None };
    if plan.stream {
        client.stream_url(name).await?;
    }
    work.done(format!("{name} is active"));
    Ok(Deployed { function, created, function_url })
}

/// Where the code is, as requests say it.
fn source(code: &Code) -> Value {
    match code {
        Code::Package(package) => {
            json!({ "ZipFile": base64::engine::general_purpose::STANDARD.encode(&package.zip) })
        }
        Code::Image(image) => json!({ "ImageUri": image }),
    }
}

fn creation(plan: &Plan, code: &Code) -> Value {
    let mut input = update(plan, code);
    if matches!(code, Code::Image(_)) {
        input["PackageType"] = "Image".into();
    }
    let role = format!("arn:aws:iam::000000000000:role/{}", plan.name);
    input["FunctionName"] = plan.name.as_str().into();
    input["Code"] = source(code);
    input["Role"] = plan.role.clone().unwrap_or(role).into();
    input["MemorySize"] = plan.memory.unwrap_or(256).into();
    input["Timeout"] = plan.timeout.unwrap_or(30).into();
    input
}

/// What an update says: runtime and handler follow the code; the rest only if asked for.
fn update(plan: &Plan, code: &Code) -> Value {
    let mut input = match code {
        Code::Package(package) => json!({ "Runtime": package.runtime, "Handler": package.handler }),
        Code::Image(_) => json!({}),
    };
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            input[name] = value;
        }
    };
    set("MemorySize", plan.memory.map(Into::into));
    set("Timeout", plan.timeout.map(Into::into));
    set("Role", plan.role.clone().map(Into::into));
    set("VpcConfig", plan.network.as_ref().map(|network| json!({ "SecurityGroupIds": [format!("sg-{network}")] })));
    set("Environment", (!plan.environment.is_empty()).then(|| json!({ "Variables": plan.environment })));
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Code {
        Code::Package(Package { runtime: "python3.12".into(), handler: "app.handler".into(), zip: Vec::new() })
    }

    #[test]
    fn an_update_leaves_alone_what_was_not_asked_for() {
        let plan = Plan { name: "f".into(), memory: Some(512), network: Some("db".into()), ..Default::default() };
        let vpc = json!({ "SecurityGroupIds": ["sg-db"] });
        let expect = json!({ "Runtime": "python3.12", "Handler": "app.handler", "MemorySize": 512, "VpcConfig": vpc });
        assert_eq!(update(&plan, &package()), expect);
    }

    #[test]
    fn a_creation_says_everything() {
        let plan = Plan {
            name: "f".into(),
            environment: BTreeMap::from([("A".into(), "1".into())]),
            role: Some("arn:aws:iam::1:role/r".into()),
            ..Default::default()
        };
        let expect = json!({
            "FunctionName": "f", "Runtime": "python3.12", "Handler": "app.handler", "MemorySize": 256, "Timeout": 30,
            "Role": "arn:aws:iam::1:role/r", "Environment": { "Variables": { "A": "1" } }, "Code": { "ZipFile": "" },
        });
        assert_eq!(creation(&plan, &package()), expect);
    }

    #[test]
    fn an_image_is_named_by_its_repository() {
        for (image, name) in [
            ("127.0.0.1:5000/team/api:1", "api"),
            ("busybox", "busybox"),
            ("oci:/srv/images/api:latest", "api"),
            ("oci-archive:/srv/api.tar", "api"),
            ("r.example/api@sha256:00", "api"),
        ] {
            assert_eq!(name_of_image(image), name, "{image}");
        }
        let plan = Plan { name: "f".into(), ..Default::default() };
        let made = creation(&plan, &Code::Image("r.example/api".into()));
        assert_eq!((&made["PackageType"], &made["Code"]), (&json!("Image"), &json!({ "ImageUri": "r.example/api" })));
        assert!(made.get("Runtime").is_none());
    }

    #[test]
    fn names_come_from_directories_that_have_good_ones() {
        let dir = tempfile::tempdir().expect("tempdir");
        let check = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).expect("mkdir");
            name_of(&path)
        };
        assert_eq!(check("thumb-nails_2").expect("good"), "thumb-nails_2");
        assert_eq!(check("has space").expect_err("bad").exit_code(), 2);
    }
}
