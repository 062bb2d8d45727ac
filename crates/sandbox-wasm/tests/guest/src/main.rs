//! A command that does what its standard input says.

use std::io::{Read, Write};

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("text");
    let mut words = input.split_whitespace();
    match (words.next(), words.next()) {
        (Some("exit"), Some(code)) => std::process::exit(code.parse().expect("a number")),
        (Some("panic"), _) => panic!("as asked"),
        (Some("loop"), _) => loop {
            std::hint::black_box(0);
        },
        (Some("much"), _) => {
            let piece = vec![b'x'; 1 << 20];
            while std::io::stdout().write_all(&piece).is_ok() {}
        }
        (Some("env"), Some(name)) => print!("{}", std::env::var(name).unwrap_or_default()),
        (Some("ls"), Some(dir)) => {
            let mut names: Vec<String> = std::fs::read_dir(dir)
                .map(|items| items.flatten().map(|i| i.file_name().to_string_lossy().into_owned()).collect())
                .unwrap_or_else(|e| vec![e.to_string()]);
            names.sort();
            print!("{}", names.join(" "));
        }
        _ => {
            eprintln!("heard {}", input.len());
            print!("{input}");
        }
    }
}
