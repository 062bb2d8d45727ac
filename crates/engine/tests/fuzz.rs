//! The fuzz target's body over seeded mutations of what runtimes send: a bounded run of what `fuzz/` does without end.

#[path = "../../../fuzz/bodies/runtime_api.rs"]
mod bodies;

use base::port::Entropy;
use engine::probe::{self, CALL};
use kit::{ManualClock, Seeded};

const ROUNDS: u32 = 6_000;
const PIECES: [&str; 16] = [
    "\r\n",
    "\r\n\r\n",
    "Content-Length: 99\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Lambda-Runtime-Function-Response-Mode: streaming\r\n",
    "Trailer: Lambda-Runtime-Function-Error-Type\r\n",
    "0\r\n\r\n",
    "ffffffff\r\n",
    "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n",
    "/../",
    "%2f",
    "\0",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "HTTP/1.0",
];

fn seeds() -> [Vec<u8>; 4] {
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n";
    let to = |what: &str| format!("POST /2018-06-01/runtime/{what} HTTP/1.1\r\nHost: a\r\n");
    let whole = |what: &str, body: &str| format!("{}Content-Length: {}\r\n\r\n{body}", to(what), body.len());
    let response = format!("invocation/{CALL}/response");
    [
        format!("{next}{}{next}", whole(&response, "{\"a\": 1}")),
        format!("{next}{}", whole(&format!("invocation/{CALL}/error"), "{\"errorType\": \"E\", \"errorMessage\": \"m\"}")),
        format!(
            "{next}{}Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{next}",
            to(&response)
        ),
        format!("{}{}{next}", whole("init/template", "{\"refused\": \"x\"}"), whole("init/error", "{}")),
    ]
    .map(String::into_bytes)
}

#[test]
fn a_call_is_answered_once_and_by_name() {
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let [whole, error, streamed, _] =
        seeds().map(|seed| tokio.block_on(probe::runtime_api(&seed, ManualClock::at(base::Timestamp(1)))).answer);
    assert_eq!(whole.expect("answered").expect("a response"), "{\"a\": 1}");
    assert_eq!(error.expect("answered").expect_err("an error"), "E");
    assert_eq!(streamed.expect("answered").expect("a response"), "abc");

    let random = Seeded::new(7);
    let below = |n: usize| (random.u64() % n.max(1) as u64) as usize;
    let seeds = seeds();
    for _ in 0..ROUNDS {
        let mut data = seeds[below(seeds.len())].clone();
        for _ in 0..=below(4) {
            let at = below(data.len() + 1);
            let to = (at + below(12)).min(data.len());
            match below(5) {
                0 => drop(data.drain(at..to)),
                1 => drop(data.splice(at..at, PIECES[below(PIECES.len())].bytes())),
                2 => drop(data.splice(at..to, PIECES[below(PIECES.len())].bytes())),
                3 => data.extend(seeds[below(seeds.len())].clone()),
                _ if at < data.len() => data[at] = below(256) as u8,
                _ => {}
            }
        }
        bodies::runtime_api(&data);
    }
}
