//! Logins that others keep: `docker-credential-NAME get`, as docker asks for them.

use crate::credentials::Login;
use crate::{Error, Result};
use serde::Deserialize;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// It may ask a cloud first.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How helpers say that they have none.
const NONE: &[u8] = b"credentials not found";
/// The user of a secret that is an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    secret: String,
}

/// What the helper has for a server. Nothing of its answer is shown, whatever it is.
pub(crate) async fn ask(name: &str, server: &str) -> Result<Option<Login>> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(Error::unavailable("The credential helper that this node's logins name has no name of a program"));
    }
    ask_program(&format!("docker-credential-{name}"), server).await
}

async fn ask_program(program: &str, server: &str) -> Result<Option<Login>> {
    let failed = |why: String| {
        Err(Error::unavailable(format!("This node's credential helper {program:.256}, asked to `get` {server}, {why}")))
    };
    let (status, answer) = match tokio::time::timeout(ANSWER_MAX, run(program, server)).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return failed(format!("cannot be run: {error}")),
        Err(_) => return failed(format!("gave no answer in {} s", ANSWER_MAX.as_secs())),
    };
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return failed(format!("answers with more than {ANSWER_BYTES_MAX} bytes"));
    }
    if !status.success() {
        let none = answer.windows(NONE.len()).any(|part| part == NONE);
        return if none { Ok(None) } else { failed(format!("failed: {status}")) };
    }
    match serde_json::from_slice::<Answer>(&answer) {
        Ok(answer) if answer.username == TOKEN => Ok(Some(Login::Identity(answer.secret))),
        Ok(Answer { username: user, secret: password }) => Ok(Some(Login::Password { user, password })),
        Err(_) => failed("gives what is no login".into()),
    }
}

/// Whether it failed, and what it printed, as far as that is read.
async fn run(program: &str, server: &str) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read may have answered all the same.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await?;
    }
    Ok((child.wait().await?, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// What a helper that is this script answers.
    async fn of(script: &str) -> Result<Option<Login>> {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("docker-credential-x");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writes");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("may run");
        let path = program.to_str().expect("text").to_owned();
        // Another thread of this test may be between fork and exec, with the file open for writing.
        loop {
            match ask_program(&path, "r.example:5000").await {
                Err(error) if error.to_string().contains("Text file busy") => {}
                answer => return answer,
            }
        }
    }

    #[tokio::test]
    async fn answers_of_helpers() {
        let answer =
            r#"[ "$1" = get ] && echo "{\"ServerURL\": \"x\", \"Username\": \"ada\", \"Secret\": \"for $(cat)\"}""#;
        let login = Login::Password { user: "ada".into(), password: "for r.example:5000".into() };
        assert!(of(answer).await.is_ok_and(|found| found == Some(login)));
        let token = of(r#"echo '{"Username": "<token>", "Secret": "t"}'"#).await;
        assert!(token.is_ok_and(|found| found == Some(Login::Identity("t".into()))));
        assert!(of("echo credentials not found in native keychain; exit 1").await.is_ok_and(|found| found.is_none()));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_and_not_shown() {
        for (script, why) in [
            ("echo secret; exit 3", "failed: exit status: 3"),
            ("echo secret", "no login"),
            ("exec yes secret", "more than 65536 bytes"),
        ] {
            let Err(Error::Unavailable(told)) = of(script).await else { panic!("{script} is no answer") };
            assert!(told.contains(why) && told.contains("r.example") && !told.contains("secret"), "{told}");
        }
        let Err(error) = ask("../x", "r").await else { panic!("no name") };
        assert!(error.to_string().contains("no name of a program"));
        assert!(
            ask("of-nobody", "r").await.is_err_and(|error| error.to_string().contains("docker-credential-of-nobody"))
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let began = dir.path().join("began");
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", began.display());
        let asked = of(&script);
        let hurry = async {
            while !began.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // From here on, waits are over at once.
            tokio::time::pause();
        };
        let (answer, ()) = tokio::join!(asked, hurry);
        assert!(answer.is_err_and(|error| error.to_string().contains("gave no answer in 30 s")));
        let pid = std::fs::read_to_string(&began).expect("it began");
        let stat = format!("/proc/{}/stat", pid.trim());
        let dead = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(" Z "));
        let seen = (0..1000).any(|_| {
            dead() || {
                std::thread::sleep(Duration::from_millis(5));
                false
            }
        });
        assert!(seen, "it is dead");
    }
}
