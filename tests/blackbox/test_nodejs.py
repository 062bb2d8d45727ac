"""Node.js functions as users write them: styles of handlers, the AWS SDK, logs, failures, projects with dependencies."""

import json
import os
import shutil
import subprocess
import urllib.request

import pytest
from conftest import ROLE, ROOT, eventually, invoke, package


def major():
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else ""
    return int(version.lstrip("v").split(".")[0]) if version.startswith("v") else 0


MAJOR = major()
RUNTIME = f"nodejs{MAJOR}.x"
pytestmark = pytest.mark.skipif(MAJOR not in (20, 22, 24, 26), reason="no Node.js 20, 22, 24 or 26 on PATH")
needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="no npm on PATH")


def node(function, files, handler="index.handler", **config):
    return function(package(**files), Runtime=RUNTIME, Handler=handler, **config)


def messages(shared, name):
    return [e["message"] for e in shared.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]


STYLES = {
    "async": {"index.js": "exports.handler = async (event, context) => [event, context.awsRequestId];"},
    "promise": {"index.cjs": "exports.handler = (event, context) => Promise.resolve([event, context.awsRequestId]);"},
    "module": {"index.mjs": "const a = await 1; export const handler = async (event, context) => [event, context.awsRequestId];"},
    "type-module": {"index.js": "export const handler = async (event, { awsRequestId }) => [event, awsRequestId];", "package.json": '{"type": "module"}'},
    "streaming": {"index.mjs": "export const handler = awslambda.streamifyResponse(async (event, stream, context) => { stream.write(JSON.stringify([event, context.awsRequestId])); stream.end(); });"},
}
if MAJOR < 24:
    STYLES["callback"] = {"index.js": "exports.handler = (event, context, callback) => { setTimeout(callback, 5, null, [event, context.awsRequestId]); };"}


@pytest.mark.parametrize("style", STYLES)
def test_styles(shared, function, style):
    lam = shared.client("lambda")
    name = node(function, STYLES[style])
    for event in ({"k": ["é", None]}, 2):
        got, response = invoke(lam, name, event)
        assert got == [event, response["ResponseMetadata"]["RequestId"]] and "FunctionError" not in response


def test_logs_and_failures(shared, function):
    lam = shared.client("lambda")
    source = """
exports.handler = async (event) => {
  console.log("got\\n%j", event);
  if (event.fail === "throw") throw new TypeError("not like this");
  if (event.fail === "reject") { Promise.reject(new Error("nobody waits")); await new Promise((r) => setTimeout(r, 1000)); }
  if (event.fail === "exit") process.exit(7);
  if (event.fail === "never") await new Promise(() => {});
  if (event.fail === "late") await new Promise((r) => setTimeout(r, 60000));
  return "fine";
};"""
    name = node(function, {"index.js": source}, Timeout=3)
    assert invoke(lam, name, {})[0] == "fine"
    for fail, error_type in [("throw", "TypeError"), ("reject", "Runtime.UnhandledPromiseRejection"), ("exit", "Runtime.ExitError"),
                             ("never", "Runtime.NodeJsExit"), ("late", "Sandbox.Timedout")]:
        body, response = invoke(lam, name, {"fail": fail})
        assert (response["FunctionError"], body["errorType"]) == ("Unhandled", error_type), body
        assert "trace" in body or error_type in ("Runtime.ExitError", "Sandbox.Timedout"), body
        assert invoke(lam, name, {})[0] == "fine", f"after {fail}"
    wanted = '\tINFO\tgot\n{"fail":"throw"}\n'
    eventually(lambda: any(m.endswith(wanted) for m in messages(shared, name)))
    eventually(lambda: any("\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\"" in m for m in messages(shared, name)))
    missing = node(function, {"index.mjs": "import 'nothing-like-it'; export const handler = 1;"})
    assert "Cannot find package 'nothing-like-it'" in invoke(lam, missing, {})[0]["errorMessage"]


def test_a_missing_version_is_named(shared):
    lam = shared.client("lambda")

    def refused(runtime):
        with pytest.raises(lam.exceptions.InvalidParameterValueException) as refusal:
            lam.create_function(FunctionName="other", Runtime=runtime, Role=ROLE, Handler="index.handler", Code={"ZipFile": package(**{"index.js": ""})})
        return str(refusal.value)

    available = refused("dotnet8").partition("Available runtimes: ")[2]
    assert RUNTIME in available
    other = next((r for r in ("nodejs26.x", "nodejs24.x", "nodejs22.x") if r not in available), None)
    if other is None:
        pytest.skip("all of them are here")
    assert refused(other).endswith(f"{other} is not available on this node. Available runtimes: {available}")


@needs_npm
def test_the_aws_sdk_is_there(shared, function):
    """As on AWS, from both kinds of modules; it reaches this platform by itself."""
    lam, bucket = shared.client("lambda"), "sdk-of-nodejs"
    shared.client("s3").create_bucket(Bucket=bucket)
    work = """
const s3 = new S3Client({});
const handler = async ({ bucket, key }) => {
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: "from " + key }));
  const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  return await got.Body.transformToString();
};
"""
    names = "{ S3Client, PutObjectCommand, GetObjectCommand }"
    for file, head, tail in [("index.mjs", f'import {names} from "@aws-sdk/client-s3";', "export { handler };"),
                             ("index.js", f'const {names} = require("@aws-sdk/client-s3");', "exports.handler = handler;")]:
        name = node(function, {file: head + work + tail}, Timeout=30, MemorySize=512)
        assert invoke(lam, name, {"bucket": bucket, "key": file})[0] == "from " + file
        assert shared.client("s3").get_object(Bucket=bucket, Key=file)["Body"].read() == b"from " + file.encode()
    own = node(function, {"index.mjs": 'import s3 from "@aws-sdk/client-s3"; export const handler = async () => s3;',
                          "node_modules/@aws-sdk/client-s3/package.json": '{"main": "own.js"}', "node_modules/@aws-sdk/client-s3/own.js": "module.exports = 'own';"})
    assert invoke(lam, own, {})[0] == "own"


@needs_npm
def test_deploying_the_example(shared, tmp_path):
    """By convention: handler, runtime, dependencies; what only development needs stays at home."""
    project = tmp_path / "hello-node"
    shutil.copytree(ROOT / "examples/hello-node", project)
    junk = project / "node_modules/only-for-development/index.js"
    junk.parent.mkdir(parents=True)
    junk.write_text("x")
    shared.cli("deploy", str(project), "--runtime", RUNTIME)
    lam = shared.client("lambda")
    configuration = lam.get_function(FunctionName="hello-node")["Configuration"]
    assert (configuration["Runtime"], configuration["Handler"]) == (RUNTIME, "index.handler")
    url = lam.get_function_url_config(FunctionName="hello-node")["FunctionUrl"]
    request = urllib.request.Request(shared.url + "/?name=Ada", headers={"Host": url.split("/")[2]})
    body = json.load(urllib.request.urlopen(request, timeout=30))
    assert body["hello"] == "Ada" and body["up"].endswith(("ms", "s")), body
    first = configuration["CodeSha256"]
    shared.cli("deploy", str(project), "--runtime", RUNTIME)
    again = lam.get_function(FunctionName="hello-node")["Configuration"]
    assert again["CodeSha256"] == first and again["CodeSize"] < 10_000
    lam.delete_function(FunctionName="hello-node")


@pytest.fixture(scope="module")
def lambda_ric(shared, tmp_path_factory):
    """A layer with AWS's own runtime interface client for Node.js and the bootstrap that starts it on the system's Node.js, the
    only one that a `provided` sandbox has. WADI_LAMBDA_RIC says where npm has installed the package `aws-lambda-ric`; with
    `build` it is made here from npm's sources, which takes two minutes and autoconf, automake, libtool, cmake and a C++
    compiler."""
    where = os.environ.get("WADI_LAMBDA_RIC")
    if not where:
        pytest.skip("WADI_LAMBDA_RIC is not set")
    if where == "build":
        root = tmp_path_factory.mktemp("lambda-ric")
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "aws-lambda-ric@3.3.0"], cwd=root, check=True)
        where = root / "node_modules/aws-lambda-ric"
        binaries, headers = f"{root / 'node_modules/.bin'}:{os.environ['PATH']}", os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("node"))))
        for script in ("preinstall", "postinstall"):
            subprocess.run(["sh", f"scripts/{script}.sh"], cwd=where, check=True, capture_output=True, env={**os.environ, "PATH": binaries, "npm_config_nodedir": headers})
    files = {f"ric/{part}": open(os.path.join(where, part), "rb").read() for part in ("package.json", "bin/index.mjs", "dist/index.mjs", "dist/rapid-client.node")}
    files["bootstrap"] = "#!/bin/sh\nexec /usr/bin/node /opt/ric/bin/index.mjs $_HANDLER\n"
    layer = shared.client("lambda").publish_layer_version(LayerName="lambda-ric", Content={"ZipFile": package(**files)})["LayerVersionArn"]
    return {"Runtime": "provided.al2023", "Layers": [layer], "Handler": "index.handler", "Timeout": 10}


TRICKY = """
const cases = [
  async () => undefined, async () => null, async () => "\\u2028é", async () => [NaN, -0, 1e300, new Date(0), { a: undefined }],
  async () => ({ toJSON: () => "told" }), async () => new Map([[1, 2]]), async () => { throw new TypeError("no"); },
  async () => { throw Object.assign(new Error("worse"), { name: "Odd", code: 7 }); }, async () => { throw "a word"; },
  async () => { class Own extends Error {} throw new Own("mine"); }, async () => JSON.parse("{"),
];
exports.handler = async (i) => cases[i]();
"""


def test_results_are_those_of_awss_client(shared, function, lambda_ric):
    """The same handlers on our Node.js runtime and on AWS's, as `provided`: the same bodies but for where the code lies."""
    lam = shared.client("lambda")
    ours, theirs = node(function, {"index.js": TRICKY}), function(package(**{"index.js": TRICKY}), **lambda_ric)

    def body(name, i):
        got, response = invoke(lam, name, i)
        (got.pop("trace", None), got.pop("stackTrace", None)) if isinstance(got, dict) else None
        return response.get("FunctionError"), got

    for i in range(11):
        assert body(ours, i) == body(theirs, i), i
    streaming = function(package(**STYLES["streaming"]), **lambda_ric)
    events = lam.invoke_with_response_stream(FunctionName=streaming, Payload=b'"x"')["EventStream"]
    assert b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e).startswith(b'["x",')
