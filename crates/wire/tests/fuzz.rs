//! The fuzz targets' bodies over seeded random and mutated requests: a bounded run of what `fuzz/` does without end.

mod tables;

#[path = "../../../fuzz/bodies/wire.rs"]
mod bodies;

const ROUNDS: u32 = 30_000;

const SEEDS: [&str; 9] = [
    "GET /2015-03-31/functions?MaxItems=5&Marker=a%20b HTTP/1.1\nhost:localhost\n\n",
    "GET /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aa?Qualifier=%24LATEST x\n\n",
    "POST /2015-03-31/functions x\ncontent-type:application/json\n\n\
     {\"FunctionName\":\"f\",\"Role\":\"arn:aws:iam::000000000000:role/r\",\
     \"Code\":{\"ZipFile\":\"UEs=\"},\"Environment\":{\"Variables\":{\"A1\":\"b\"}},\
     \"Layers\":[\"a\"],\"Timeout\":3,\"Tags\":{\"k\":\"v\"}}",
    "POST /2015-03-31/functions/f/invocations x\nx-amz-invocation-type:Event\nx-amz-client-context:e30=\n\n{\"a\":1}",
    "DELETE /2017-03-31/tags/arn%3Aaws?tagKeys=a&tagKeys=b x\n\n",
    "POST / x\nx-amz-target:Logs_20140328.PutLogEvents\n\n{\"logGroupName\":\"g\",\"logStreamName\":\"s\",\"logEvents\":\
     [{\"timestamp\":1,\"message\":\"m\"}]}",
    "POST /000000000000/q x\ncontent-type:application/x-www-form-urlencoded\n\nAction=SendMessageBatch\
     &SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=b\
     &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
     &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String\n",
    "GET /_wadi/api/usage?start=1&end=2 x\nx-amz-date:20150830T123600Z\nauthorization:AWS4-HMAC-SHA256 \
     Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=b97d\n\n",
    "GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20150830%2Fr%2Fs%2Faws4_request&X-Amz-Date=20150830T123600Z\
     &X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=00 x\nhost:h\n\n",
];

/// What mutations put in: bytes that the grammars care about.
const PIECES: [&str; 20] = [
    "%", "%00", "%FF", "/", "//", "..", "?", "&", "=", "+", "\"", "\\u0000", "[", "{", "null", "-1", "1e999", "é", ";",
    ",",
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
        let to = (at + self.below(8)).min(data.len());
        match self.below(5) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..to)),
            2 => drop(data.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
            3 => {
                let piece = data[at..to].to_vec();
                let into = self.below(data.len() + 1);
                data.splice(into..into, piece);
            }
            _ if at < data.len() => data[at] = self.below(256) as u8,
            _ => {}
        }
    }
}

fn run(seed: u64, body: impl Fn(&[u8])) {
    let mut random = Random(seed);
    for round in 0..ROUNDS {
        let mut data = match round % 16 {
            0 => (0..random.below(200)).map(|_| random.below(256) as u8).collect(),
            _ => SEEDS[random.below(SEEDS.len())].as_bytes().to_vec(),
        };
        for _ in 0..random.below(6) {
            random.mutate(&mut data);
        }
        body(&data);
    }
}

#[test]
fn wire_decode() {
    run(0x5eed_0001, |data| bodies::wire_decode(&tables::ALL, data));
}

#[test]
fn sigv4_parse() {
    run(0x5eed_0002, bodies::sigv4_parse);
}
