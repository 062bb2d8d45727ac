//! The fuzz targets' bodies over seeded random and mutated texts: a bounded run of what `fuzz/` does without end.

#[path = "../../../fuzz/bodies/rules.rs"]
mod bodies;

const ROUNDS: u32 = 20_000;

const PATTERNS: [&str; 4] = [
    r#"{"source": ["a", {"prefix": "b"}], "detail": {"n": [{"numeric": [">", 1, "<=", 5]}], "x": [{"exists": false}]}}
{"source": "a", "detail": [{"n": 2}, {"n": [1, 9], "x": null}]}"#,
    r#"{"$or": [{"a": [{"anything-but": {"wildcard": "*x*"}}]}, {"b": [{"cidr": "10.0.0.0/8"}, null, 1.5]}]}
{"a": "axb", "b": ["10.1.1.1", true]}"#,
    r#"{"a": [{"suffix": {"equals-ignore-case": "\u00e9"}}, {"anything-but": [1, 2]}, "::1"]}
{"a": ["\u00c9", "0:0::1", {"a": 1}, []]}"#,
    r#"{"a": {"b": {"c": [{"wildcard": "a*b\\*c"}]}}}
{"a": [{"b": [[{"c": "axb*c"}]]}]}"#,
];

const TEMPLATES: [&str; 3] = [
    "\"<v0> is <v1> \\<x>\"\n{\"a\": {\"b\": [1, \"x\"]}}\n$.a.b[1]\n$['a'].b[*]",
    "{\"a\": <v0>, \"b\": \"<v0>\", \"c\": <aws.events.event>}\n{\"detail\": {\"q\": \"\\\"\"}}\n$.detail",
    "<aws.events.event.json>\n[1, [2, [3]]]\n$[1][1][0]\n$[*][*]",
];

const SCHEDULES: [&str; 5] = [
    "cron(0/15 8-17 ? * MON-FRI 2026-2028)\nEurope/Berlin",
    "cron(30 2 L * ? *)\nAmerica/New_York",
    "cron(0 0 ? 2,4 3#2,6L *)\nUTC",
    "rate(5 minutes)\nAsia/Kolkata",
    "at(2027-03-28T02:30:00)\nEurope/Paris",
];

/// What mutations put in: bytes that the grammars care about.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "*",
    "**",
    "?",
    "#",
    "L",
    "W",
    "/",
    "-",
    ",",
    "<",
    ">",
    "$",
    ".",
    "0",
    "1e999",
    "null",
    "\u{1F600}",
    "\n",
];

/// xorshift64: the same run every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn mutate(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len() + 1);
        match self.below(4) {
            0 => drop(data.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
            1 if at < data.len() => drop(data.remove(at)),
            2 if at < data.len() => {
                let end = (at + self.below(8)).min(data.len());
                let piece = data[at..end].to_vec();
                drop(data.splice(at..at, piece));
            }
            _ if at < data.len() => data[at] = self.below(128) as u8,
            _ => {}
        }
    }
}

fn run(seed: u64, seeds: &[&str], body: fn(&[u8])) {
    let mut random = Random(seed);
    for _ in 0..ROUNDS {
        let mut data = seeds[random.below(seeds.len())].as_bytes().to_vec();
        for _ in 0..random.below(6) {
            random.mutate(&mut data);
        }
        body(&data);
    }
}

#[test]
fn patterns() {
    run(0x5eed_0017, &PATTERNS, bodies::pattern);
}

#[test]
fn transformers() {
    run(0x5eed_0018, &TEMPLATES, bodies::transform);
}

#[test]
fn schedules() {
    run(0x5eed_0019, &SCHEDULES, bodies::schedule);
}
