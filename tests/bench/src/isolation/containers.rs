//! From nothing to the first byte of a static program in an unpacked image: raised by us, and by others of the same image.

use super::{Bench, programs, ways};
use crate::line::{Against, Line, Starts, print};
use crate::load::Figures;
use anyhow::{Context, Result, ensure};
use sandbox::{Driver, Process, Runtime};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What ends behind a sandbox is not the next one's to wait for.
const BEHIND: Duration = Duration::from_millis(30);
const PLACES: [&str; 5] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"];
const WORD: &str = "here\n";
const ARGV: [&str; 2] = ["/echo", "here"];

pub async fn run(bench: &Bench) -> Result<()> {
    let image = image(bench)?;
    let driver = ways::driver(bench, bench.scratch.path().join("containers"))?;
    let bubblewrap = || found("bwrap").map(|program| (program, bwrap as Alone));
    pair(bench, &driver, &image, None, "bwrap --unshare-all", bubblewrap(), "").await?;
    for name in ["crun", "runc"] {
        let runtime = found(name);
        let with = runtime.as_ref().map(|program| Some(Runtime::at(program.clone()))).unwrap_or_default();
        if with.is_none() {
            crate::line::note(&format!("cold, tier container with {name}: absent: it is not on PATH"));
            continue;
        }
        let alone = runtime.map(|program| (program, run_alone as Alone));
        pair(bench, &driver, &image, with, &format!("{name} run"), alone, "≤ 1.3 × as long").await?;
    }
    Ok(())
}

/// How a program that isolates is asked to run the image's program; the number makes a name of its own.
type Alone = fn(&Path, &Path, usize) -> Result<Command>;

/// Ours and the other's, in turns.
async fn pair(
    bench: &Bench,
    driver: &Process,
    image: &Path,
    runtime: Option<Runtime>,
    name: &str,
    other: Result<(PathBuf, Alone)>,
    goal: &'static str,
) -> Result<()> {
    let (began, mut ours, mut theirs, mut absent) = (Instant::now(), Vec::new(), Vec::new(), None);
    for round in 0..=bench.options.samples {
        let took = raised(driver, image, runtime.clone()).await;
        let took = match (took, &runtime) {
            // What this machine's runtime refuses is no fault of the benchmark.
            (Err(error), Some(_)) => {
                crate::line::note(&format!("cold, tier container by {name}: absent: {error:#}"));
                return Ok(());
            }
            (took, _) => took?,
        };
        let alone = match &other {
            Ok((program, command)) => command(program, image, round).and_then(first_byte),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        // The first ones find the files.
        if round > 0 {
            ours.push(took);
        }
        match alone {
            Ok(took) if round > 0 => theirs.push(took),
            Ok(_) => {}
            Err(error) => absent = Some(error),
        }
        tokio::time::sleep(BEHIND).await;
    }
    let over = began.elapsed();
    let (figures, theirs) = (Figures::of(ours, over), Figures::of(theirs, over));
    let against = vec![match absent {
        Some(error) => Against::absent(name, &error),
        None => Against::over(name, &figures, &theirs),
    }];
    let tier = match &runtime {
        Some(runtime) => format!("container by {}", runtime.program.display()),
        None => "process".into(),
    };
    let what = format!("cold, tier {tier}, an image's static program, to its first byte");
    print(&Line { what, starts: Starts::none(), connections: 1, figures, against, goal });
    Ok(())
}

async fn raised(driver: &Process, image: &Path, runtime: Option<Runtime>) -> Result<Duration> {
    let program = sandbox::Program::Exec(ARGV.map(str::to_owned).into());
    let spec = sandbox::Spec { image: Some(image.to_owned()), runtime, ..ways::spec(program, 256) };
    let began = Instant::now();
    let raised = driver.raise(spec).await?;
    let took = tokio::task::block_in_place(|| word(raised.output, began));
    raised.exit.await?;
    took
}

/// When the first byte came; all that comes has to be the word.
fn word(output: OwnedFd, began: Instant) -> Result<Duration> {
    let (mut output, mut first, mut rest) = (File::from(output), [0], String::new());
    output.read_exact(&mut first).context("it said nothing")?;
    let took = began.elapsed();
    output.read_to_string(&mut rest)?;
    ensure!(first[0] == WORD.as_bytes()[0] && rest == WORD[1..], "it said something else");
    Ok(took)
}

fn first_byte(mut command: Command) -> Result<Duration> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let took = word(child.stdout.take().context("its output")?.into(), began);
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{:?} failed: {}", command.get_program(), said.lines().last().unwrap_or_default());
    took
}

fn found(name: &str) -> Result<PathBuf> {
    let found = PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is not on PATH"))
}

/// An unpacked image that has the static program and what all have.
fn image(bench: &Bench) -> Result<PathBuf> {
    let image = bench.scratch.path().join("image");
    for name in sandbox::IMAGE_DIRECTORIES.iter().chain(&["sys"]) {
        fs::create_dir_all(image.join(name))?;
    }
    fs::copy(programs::compiled(bench)?, image.join("echo"))?;
    Ok(image)
}

fn bwrap(program: &Path, image: &Path, _: usize) -> Result<Command> {
    let mut command = Command::new(program);
    command.args(["--unshare-all", "--die-with-parent", "--ro-bind"]).arg(image);
    command.args(["/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--"]).args(ARGV);
    Ok(command)
}

/// A bundle as `spec` makes one, of the image.
fn run_alone(program: &Path, image: &Path, round: usize) -> Result<Command> {
    let bundle = image.with_extension(program.file_name().unwrap_or_default());
    let file = bundle.join("config.json");
    if !file.exists() {
        fs::create_dir_all(&bundle)?;
        let made = Command::new(program).arg("spec").current_dir(&bundle).output()?;
        ensure!(made.status.success(), "{} makes no bundle", program.display());
        let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!(ARGV);
        config["root"] = json!({ "path": image, "readonly": true });
        fs::write(&file, config.to_string())?;
    }
    let mut command = Command::new(program);
    command.args(["run", "--bundle"]).arg(bundle).arg(format!("wadi-bench-{}-{round}", std::process::id()));
    Ok(command)
}
