//! Node.js on this machine: which version, what a module exports, and a project's dependencies installed with npm.

use super::site::{self, Site};
use crate::error::{Error, Result, at};
use crate::show::Work;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Major versions of the nodejs runtimes that AWS has.
const RUNTIMES: [u8; 4] = [20, 22, 24, 26];
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// The runtime's major version, and its interpreter where it is here: the one wished for, else the newest.
pub fn choose(wish: Option<&str>) -> Result<(u8, Option<PathBuf>)> {
    let mut here = node::nodejs::of_machine(&BTreeMap::new());
    here.retain(|major, _| RUNTIMES.contains(major));
    chosen(&here, wish)
}

fn chosen(here: &BTreeMap<u8, PathBuf>, wish: Option<&str>) -> Result<(u8, Option<PathBuf>)> {
    let Some(wish) = wish else {
        let newest = here.iter().next_back().map(|(major, path)| (*major, Some(path.clone())));
        return newest.ok_or_else(|| {
            Error::told("there is no Node.js on this machine", "install Node.js 20, 22, 24 or 26, or name --runtime")
        });
    };
    let major = wish.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x")).and_then(|m| m.parse().ok());
    let major = major.filter(|major| RUNTIMES.contains(major)).ok_or_else(|| {
        Error::usage(
            format!("{wish} is not a runtime that AWS has"),
            "nodejs20.x, nodejs22.x, nodejs24.x, nodejs26.x are",
        )
    })?;
    Ok((major, here.get(&major).cloned()))
}

/// Installs the dependencies that `dir/package.json` names, or takes what an earlier run installed of the same ones for
/// the same interpreter. `None` without a package.json; what it does not name is not in the package.
pub async fn install(runtime: &str, interpreter: Option<&Path>, dir: &Path) -> Result<Option<Site>> {
    let file = dir.join("package.json");
    if !file.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file).map_err(at(&file))?;
    let manifest: Value = serde_json::from_str(&text)
        .map_err(|e| Error::told(format!("{} is not JSON: {e}", file.display()), "repair it"))?;
    let manifest = dependencies(&manifest)?;
    let lock = LOCKS.into_iter().map(|name| dir.join(name)).find(|lock| lock.exists());
    let locked = lock.as_ref().map(std::fs::read_to_string).transpose().map_err(at(&file))?.unwrap_or_default();
    let shown = manifest.to_string();
    let interpreter_path = interpreter.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let key = site::key(&[&shown, &locked, &interpreter_path]);
    let fill = async |target: &Path| {
        std::fs::write(target.join("package.json"), &shown).map_err(at(target))?;
        if let Some(lock) = &lock {
            std::fs::copy(lock, target.join("package-lock.json")).map_err(at(lock))?;
        }
        if manifest["dependencies"].as_object().is_some_and(|d| !d.is_empty()) {
            let interpreter = interpreter.ok_or_else(|| {
                Error::told(
                    format!("the dependencies have to be installed with {runtime}, which is not on this machine"),
                    "install it, or choose another with --runtime",
                )
            })?;
            npm(interpreter, target, lock.is_some()).await?;
        }
        // Only what handlers load: no programs, and nothing in place of the project's own files.
        for name in ["package.json", "package-lock.json", "node_modules/.package-lock.json"] {
            let _ = std::fs::remove_file(target.join(name));
        }
        let _ = std::fs::remove_dir_all(target.join("node_modules/.bin"));
        Ok(())
    };
    site::cached("node-modules", Some(key), fill).await.map(Some)
}

/// The part of a manifest that says what is installed. Not the scripts: what they work on is not where npm runs.
fn dependencies(manifest: &Value) -> Result<Value> {
    let mut kept = serde_json::Map::new();
    for name in ["name", "version", "dependencies", "devDependencies", "optionalDependencies", "overrides"] {
        kept.extend(manifest.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let local = |version: &str| ["file:", "link:", "workspace:", ".", "/", "~/"].iter().any(|l| version.starts_with(l));
    for part in ["dependencies", "optionalDependencies"] {
        let named = manifest.get(part).and_then(Value::as_object).into_iter().flatten();
        if let Some((name, version)) = named.into_iter().find(|(_, version)| version.as_str().is_some_and(local)) {
            return Err(Error::told(
                format!("package.json takes {name} from {version}, and `wadi deploy` installs from registries only"),
                "bundle the function (for example with esbuild) and deploy what comes out of it",
            ));
        }
    }
    Ok(Value::Object(kept))
}

async fn npm(interpreter: &Path, target: &Path, locked: bool) -> Result<()> {
    let work = Work::start("installing package.json's dependencies");
    let beside = interpreter.with_file_name("npm");
    let mut command = match beside.is_file() {
        true => Command::new(interpreter),
        false => Command::new("npm"),
    };
    if beside.is_file() {
        command.arg(beside);
    }
    command.args([if locked { "ci" } else { "install" }, "--omit=dev", "--no-audit", "--no-fund"]);
    command.args(["--no-update-notifier", "--loglevel=error"]).current_dir(target);
    if let Err((status, said)) = site::watch("npm", command, &work).await? {
        let advice = if said.contains("ENOTFOUND") || said.contains("ECONNREFUSED") || said.contains("EAI_AGAIN") {
            "npm's registry cannot be reached: look at the network, or name one that can with `npm config set registry`"
        } else {
            "run it by hand in the directory to see more: npm install --omit=dev"
        };
        return Err(Error::told(format!("npm failed ({status}):\n{said}"), advice));
    }
    work.done("installed package.json's dependencies");
    Ok(())
}

/// Whether a module exports `name`, in any of the ways it is commonly written by people and bundlers.
pub fn exports(source: &str, name: &str) -> bool {
    let is_name = |word: &str| word == name;
    let words = |text: &str| text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).any(is_name);
    source.match_indices("export").any(|(at, _)| {
        let line = source[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        if line.starts_with("//") || line.starts_with('*') || line.starts_with("/*") {
            return false;
        }
        let rest = &source[at + "export".len()..];
        let block = |text: &str| words(text.split('}').next().unwrap_or_default());
        if let Some(common) = rest.strip_prefix('s') {
            let common = common.trim_start();
            let member =
                common.strip_prefix('.').or_else(|| common.strip_prefix("[\"")).or_else(|| common.strip_prefix("['"));
            return match (member, common.strip_prefix('=').map(str::trim_start)) {
                (Some(member), _) => words(
                    member.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).next().unwrap_or_default(),
                ),
                (_, Some(object)) if object.starts_with('{') => block(object),
                _ => false,
            };
        }
        if rest.trim_start().starts_with('{') {
            return block(rest);
        }
        let declared = rest.split(|c: char| c.is_whitespace() || c == '*').filter(|word| !word.is_empty());
        let mut declared = declared.skip_while(|word| ["async", "function", "const", "let", "var"].contains(word));
        rest.starts_with(char::is_whitespace)
            && declared.next().is_some_and(|word| is_name(word.split(['(', '=', ':', ';']).next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn newest_unless_wished_otherwise() {
        let here = BTreeMap::from([(20, PathBuf::from("/n20")), (22, "/n22".into())]);
        assert_eq!(chosen(&here, None).expect("newest"), (22, Some("/n22".into())));
        assert_eq!(chosen(&here, Some("nodejs20.x")).expect("wish"), (20, Some("/n20".into())));
        assert_eq!(chosen(&here, Some("nodejs24.x")).expect("on the node, perhaps"), (24, None));
        assert_eq!(chosen(&here, Some("nodejs19.x")).expect_err("no such").exit_code(), 2);
        assert!(chosen(&BTreeMap::new(), None).is_err());
    }

    #[test]
    fn what_a_module_exports() {
        for source in [
            "export const handler = async (event) => {\n};",
            "import x from 'y';\nexport async function handler(event) {}",
            "export function* handler() {}",
            "const handler = 1;\nexport { other, handler };",
            "var a=1;export{a as handler};",
            "exports.handler = (e) => 1",
            "module.exports.handler = f;",
            "exports['handler']=f",
            "module.exports = {\n  other,\n  handler,\n};",
            "0 && (module.exports = { handler });",
        ] {
            assert!(exports(source, "handler"), "{source}");
        }
        for source in [
            "const handler = 1;",
            "// export const handler = 1",
            "export const other = () => handler();",
            "exports.other = handler;",
            "exports.handlers = 1",
            "export default handler;",
        ] {
            assert!(!exports(source, "handler"), "{source}");
        }
    }

    #[test]
    fn only_what_registries_have_is_installed() {
        let manifest = json!({"scripts": {"prepare": "tsc"}, "dependencies": {"ms": "^2"}, "type": "module"});
        assert_eq!(dependencies(&manifest).expect("good"), json!({"dependencies": {"ms": "^2"}}));
        let local = json!({"dependencies": {"lib": "file:../lib"}});
        assert!(dependencies(&local).expect_err("local").to_string().contains("lib"));
    }
}
