//! What a directory holds, found by convention: a Python or JavaScript handler, a `bootstrap` program or a
//! `bootstrap.wasm`; or a file that is a WebAssembly component.

use super::{Wishes, nodejs};
use crate::error::{Error, Result, at};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Files that may hold the handler, and names it may have, the likelier ones first.
const MODULES: [&str; 5] = ["lambda_function", "app", "handler", "main", "index"];
const FUNCTIONS: [&str; 3] = ["lambda_handler", "handler", "main"];
/// The same for JavaScript.
const JS_MODULES: [&str; 4] = ["index", "app", "handler", "main"];
const JS_SUFFIXES: [&str; 3] = ["mjs", "js", "cjs"];
const JS_EXPORTS: [&str; 2] = ["handler", "lambdaHandler"];
/// A module larger than this is not read in search of its handler.
const MODULE_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, PartialEq)]
pub enum Kind {
    Python {
        handler: String,
    },
    Node {
        handler: String,
    },
    /// An executable that speaks the Lambda Runtime API.
    Bootstrap,
    /// A WebAssembly component.
    Component,
}

/// What a component is called in a package.
pub const COMPONENT: &str = "bootstrap.wasm";

/// What the directory holds, as far as the wishes leave it open.
pub fn detect(dir: &Path, wishes: &Wishes) -> Result<Kind> {
    if dir.is_file() {
        return component(dir, wishes);
    }
    if !dir.is_dir() {
        return Err(Error::usage(
            format!("{} is neither a directory nor a .wasm file", dir.display()),
            "`wadi deploy PATH` takes the directory that holds the function's code, or a WebAssembly component",
        ));
    }
    match wishes.runtime.as_deref() {
        Some(r) if r.starts_with("provided.") => return bootstrap(dir),
        Some(r) if !r.starts_with("python3.") && !r.starts_with("nodejs") => {
            return Err(Error::usage(
                format!("`wadi deploy` does not build for {r}"),
                "it builds python3.9 to python3.14, nodejs20.x and newer, and provided.al2023",
            ));
        }
        _ => {}
    }
    if let Some(handler) = &wishes.handler
        && (wishes.runtime.is_some() || !dir.join("bootstrap").exists())
    {
        return named(dir, handler, wishes.runtime.as_deref());
    }
    let wished = |prefix| wishes.runtime.as_deref().is_none_or(|runtime| runtime.starts_with(prefix));
    if wished("python3.")
        && let Some(handler) = python_handler(dir)?
    {
        return Ok(Kind::Python { handler });
    }
    if wished("nodejs")
        && let Some(handler) = js_handler(dir)?
    {
        return Ok(Kind::Node { handler });
    }
    if wishes.runtime.is_none() && (dir.join("bootstrap").exists() || dir.join(COMPONENT).exists()) {
        return bootstrap(dir);
    }
    Err(nothing_found(dir))
}

/// A file by itself. The node says what is wrong with a component; what is not even WebAssembly is said here.
fn component(file: &Path, wishes: &Wishes) -> Result<Kind> {
    if let Some(runtime) = wishes.runtime.as_deref().filter(|runtime| !runtime.starts_with("provided.")) {
        return Err(Error::usage(
            format!("a WebAssembly component is not for {runtime}"),
            "leave --runtime out, or say provided.al2023",
        ));
    }
    let mut magic = [0; 4];
    let read = std::fs::File::open(file).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    match read {
        Ok(()) if magic == *b"\0asm" => Ok(Kind::Component),
        Err(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(at(file)(e)),
        _ => Err(Error::usage(
            format!("{} is not WebAssembly", file.display()),
            "`wadi deploy PATH` takes the directory that holds the function's code, or a WebAssembly component",
        )),
    }
}

/// The first module that defines one of the handler names at its top level.
fn python_handler(dir: &Path) -> Result<Option<String>> {
    for module in MODULES {
        let Some(source) = read(&dir.join(format!("{module}.py")))? else { continue };
        if let Some(function) = FUNCTIONS.into_iter().find(|f| defines(&source, f)) {
            return Ok(Some(format!("{module}.{function}")));
        }
    }
    Ok(None)
}

/// The first module that exports one of the handler names.
fn js_handler(dir: &Path) -> Result<Option<String>> {
    for module in JS_MODULES {
        for suffix in JS_SUFFIXES {
            let Some(source) = read(&dir.join(format!("{module}.{suffix}")))? else { continue };
            if let Some(export) = JS_EXPORTS.into_iter().find(|export| nodejs::exports(&source, export)) {
                return Ok(Some(format!("{module}.{export}")));
            }
        }
    }
    Ok(None)
}

/// A module's source, if it is there and of a size that people write.
fn read(path: &Path) -> Result<Option<String>> {
    match path.metadata() {
        Ok(meta) if meta.is_file() && meta.len() <= MODULE_BYTES_MAX => {
            let source = std::fs::read(path).map_err(at(path))?;
            Ok(Some(String::from_utf8_lossy(&source).into_owned()))
        }
        _ => Ok(None),
    }
}

/// Whether a line defines or assigns `name` at the top level.
fn defines(source: &str, name: &str) -> bool {
    source.lines().any(|line| {
        let rest = line.strip_prefix("def ").unwrap_or(line);
        let is_def = rest.len() < line.len();
        rest.trim_start().strip_prefix(name).is_some_and(|after| {
            let after = after.trim_start();
            if is_def { after.starts_with('(') } else { line.starts_with(name) && assigns(after) }
        })
    })
}

fn assigns(after: &str) -> bool {
    after.starts_with('=') && !after.starts_with("==")
}

/// A handler the user named: its module must be there.
fn named(dir: &Path, handler: &str, runtime: Option<&str>) -> Result<Kind> {
    // As the Node.js runtime takes a handler apart: the module ends at the first dot behind the last slash.
    let (folder, last) = handler.rsplit_once('/').map_or(("", handler), |(folder, last)| (folder, last));
    let js = last.split_once('.').map(|(module, _)| dir.join(folder).join(module));
    let has_js = js.is_some_and(|js| JS_SUFFIXES.iter().any(|suffix| js.with_extension(suffix).is_file()));
    if has_js && runtime.is_none_or(|runtime| runtime.starts_with("nodejs")) {
        return Ok(Kind::Node { handler: handler.to_owned() });
    }
    if runtime.is_some_and(|runtime| runtime.starts_with("nodejs")) {
        return Err(Error::usage(
            format!("the handler {handler:?} means a .mjs, .js or .cjs file that is not in {}", dir.display()),
            "a handler is written module.export",
        ));
    }
    let module = handler.rsplit_once('.').map(|(module, _)| module.replace('.', "/"));
    match module {
        Some(m) if dir.join(format!("{m}.py")).is_file() || dir.join(&m).join("__init__.py").is_file() => {
            Ok(Kind::Python { handler: handler.to_owned() })
        }
        Some(m) => Err(Error::usage(
            format!("the handler {handler:?} means {m}.py, which is not in {}", dir.display()),
            "a handler is written module.function",
        )),
        None => Err(Error::usage(format!("{handler:?} is not a handler"), "write it as module.function")),
    }
}

fn bootstrap(dir: &Path) -> Result<Kind> {
    let path = dir.join("bootstrap");
    match path.metadata() {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(Kind::Bootstrap),
        Ok(_) => Err(Error::told(
            format!("{} is not an executable file", path.display()),
            format!("chmod +x {}", path.display()),
        )),
        Err(_) if dir.join(COMPONENT).is_file() => Ok(Kind::Component),
        Err(_) => Err(nothing_found(dir)),
    }
}

fn nothing_found(dir: &Path) -> Error {
    let has = |name: &str| dir.join(name).exists();
    if has("Cargo.toml") {
        return Error::told(
            format!("{} is a Cargo project: there is a program to build first", dir.display()),
            "cargo build --release --target x86_64-unknown-linux-musl, put the program into a directory of its own \
             under the name `bootstrap`, and deploy that directory",
        );
    }
    if has("package.json") || has("index.js") || has("index.mjs") {
        return Error::told(
            format!("no handler found in {}", dir.display()),
            format!(
                "export a function named {} from one of {} (.mjs, .js or .cjs), or name yours with --handler module.export; \
                 TypeScript is compiled first, and what comes out is deployed",
                JS_EXPORTS.join(" or "),
                JS_MODULES.join(", ")
            ),
        );
    }
    Error::told(
        format!("no handler found in {}", dir.display()),
        format!(
            "put a function {} into one of {}, or name yours with --handler module.function; or add an executable named \
             `bootstrap`",
            FUNCTIONS.join(", "),
            MODULES.map(|m| format!("{m}.py")).join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn check(files: &[(&str, &str)], runtime: Option<&str>, handler: Option<&str>, expect: Result<Kind, &str>) {
        let dir = tempfile::tempdir().expect("tempdir");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(&path, text).expect("write");
            if text.starts_with("#!") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
            }
        }
        let wishes = Wishes { runtime: runtime.map(Into::into), handler: handler.map(Into::into) };
        match (detect(dir.path(), &wishes), expect) {
            (Ok(kind), Ok(expected)) => assert_eq!(kind, expected, "{files:?}"),
            (Err(error), Err(part)) => {
                let shown = format!("{:?}", miette::Report::new(error)).replace("\n", " ");
                assert!(shown.contains(part), "{shown} lacks {part}");
            }
            (got, expected) => panic!("{files:?}: {got:?}, not {expected:?}"),
        }
    }

    fn python(handler: &str) -> Result<Kind, &'static str> {
        Ok(Kind::Python { handler: handler.into() })
    }

    #[test]
    fn handlers_by_convention() {
        check(&[("app.py", "import x\ndef handler(event, context):\n  pass\n")], None, None, python("app.handler"));
        check(
            &[("lambda_function.py", "def lambda_handler (e, c): 1")],
            None,
            None,
            python("lambda_function.lambda_handler"),
        );
        check(&[("main.py", "app = A()\nhandler = Mangum(app)\n")], None, None, python("main.handler"));
        check(&[("index.py", "def main(args): pass")], Some("python3.11"), None, python("index.main"));
        // The likelier module wins, if it has a handler.
        check(&[("app.py", "def other(): 1"), ("main.py", "def main(e, c): 1")], None, None, python("main.main"));
        check(
            &[("app.py", "def handler(e,c): 1"), ("main.py", "def main(e, c): 1")],
            None,
            None,
            python("app.handler"),
        );
    }

    #[test]
    fn javascript_handlers() {
        let node = |handler: &str| Ok(Kind::Node { handler: handler.into() });
        check(&[("index.mjs", "export const handler = 1")], None, None, node("index.handler"));
        check(&[("app.js", "exports.lambdaHandler = f")], None, None, node("app.lambdaHandler"));
        let both = [("app.py", "def handler(e, c): 1"), ("app.js", "exports.handler = f")];
        check(&both, None, None, python("app.handler"));
        check(&both, Some("nodejs20.x"), None, node("app.handler"));
        check(&both, Some("nodejs20.x"), Some("app.other"), node("app.other"));
        check(&[("src/web.cjs", "")], None, Some("src/web.api.run"), node("src/web.api.run"));
        check(&[("app.py", "")], Some("nodejs20.x"), Some("app.run"), Err("means a .mjs, .js or .cjs"));
    }

    #[test]
    fn what_is_no_handler() {
        for source in ["  def handler(e, c): 1", "def handler_two(): 1", "handler == 1", "#def handler(): 1", ""] {
            check(&[("app.py", source)], None, None, Err("no handler found"));
        }
    }

    #[test]
    fn named_handlers_must_exist() {
        check(&[("src/web.py", "")], None, Some("src.web.run"), python("src.web.run"));
        check(&[("pkg/__init__.py", "")], None, Some("pkg.run"), python("pkg.run"));
        check(&[("app.py", "")], None, Some("web.run"), Err("which is not in"));
        check(&[("app.py", "")], None, Some("run"), Err("is not a handler"));
    }

    #[test]
    fn components() {
        let dir = tempfile::tempdir().expect("tempdir");
        let detect = |text: &[u8], runtime: Option<&str>| {
            let file = dir.path().join("f.wasm");
            fs::write(&file, text).expect("write");
            super::detect(&file, &Wishes { runtime: runtime.map(Into::into), handler: None })
        };
        assert_eq!(detect(b"\0asm\x0d\0\x01\0", None).expect("one"), Kind::Component);
        assert_eq!(detect(b"\0asm\x0d\0\x01\0", Some("provided.al2023")).expect("one"), Kind::Component);
        for (text, runtime) in
            [(&b"\0asm\x0d\0\x01\0"[..], Some("python3.12")), (&b""[..], None), (&b"#!/bin/sh"[..], None)]
        {
            assert_eq!(detect(text, runtime).expect_err("none").exit_code(), 2);
        }
    }

    #[test]
    fn programs() {
        check(&[("bootstrap", "#!/bin/sh")], None, None, Ok(Kind::Bootstrap));
        check(&[("bootstrap", "#!/bin/sh")], Some("provided.al2"), None, Ok(Kind::Bootstrap));
        check(&[("bootstrap", "text")], None, None, Err("chmod +x"));
        check(&[("bootstrap.wasm", "\0asm")], None, None, Ok(Kind::Component));
        check(&[("bootstrap.wasm", "\0asm"), ("bootstrap", "#!/bin/sh")], None, None, Ok(Kind::Bootstrap));
        check(&[("Cargo.toml", "")], None, None, Err("cargo build --release"));
        check(&[("package.json", "")], None, None, Err("export a function named handler"));
        check(&[], Some("java21"), None, Err("does not build for java21"));
    }
}
