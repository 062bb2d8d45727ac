//! The fuzz target's body over seeded mutations of what the node sends: a bounded run of what `fuzz/` does without end.

#[path = "../../../fuzz/bodies/launcher.rs"]
mod bodies;

const ROUNDS: u32 = 30_000;
const SEEDS: [&str; 2] = [
    r#"{"id":"a-1","role":"instance","program":{"exec":["/bin/true","x"]},"env":{"A":"b"},"cwd":"/var/task","mounts":
    [{"source":"/a","target":"/var/task"}],"limits":{"memory_bytes":134217728,"pids":64,"open_files":1024,
    "file_bytes":536870912,"cpu_weight":74},"network":"own","listen":[9001,4566]}"#,
    r#"{"id":"a-2","role":"instance","program":{"copy":{"of":"a-1"}},"env":{},"cwd":"/","mounts":[],"limits":
    {"memory_bytes":134217728,"pids":1,"open_files":16,"file_bytes":1,"cpu_weight":1},"network":"host","listen":[]}"#,
];
const PIECES: [&str; 14] = [
    "/",
    "//",
    "..",
    "/../",
    ".",
    "\\u0000",
    "=",
    "-1",
    "0",
    "1e999",
    "null",
    "template",
    "base",
    "18446744073709551615",
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
}

#[test]
fn no_request_leads_out_of_a_sandbox() {
    SEEDS.iter().for_each(|seed| {
        serde_json::from_str::<sandbox::Spec>(seed).expect("a spec").check().expect("a valid one");
    });
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        let mut data = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(data.len() + 1);
            let to = (at + random.below(8)).min(data.len());
            match random.below(4) {
                0 => drop(data.drain(at..to)),
                1 => drop(data.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
                2 => drop(data.splice(at..to, PIECES[random.below(PIECES.len())].bytes())),
                _ if at < data.len() => data[at] = random.below(256) as u8,
                _ => {}
            }
        }
        bodies::launcher(&data);
    }
}
