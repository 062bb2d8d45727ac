//! Text patterns of policies: `*` is any run of characters, `?` is any one.

/// Does `text` match `pattern`? Case counts. At most `pattern × text` steps, no recursion.
pub fn like(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return pattern == text;
    }
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j) = (0, 0);
    // Where the last `*` stands and how much of the text it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(&c) if c == '?' || c == t[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    i = at + 1;
                    j = eaten + 1;
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|&c| c == '*')
}

/// As [`like`], but each of the six parts of an ARN is matched on its own, so that a `*` never crosses a colon of the
/// first five. Text that is not an ARN matches nothing.
pub fn arn_like(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<_>, Vec<_>) = (pattern.splitn(6, ':').collect(), text.splitn(6, ':').collect());
    if pattern == "*" {
        return t.len() == 6;
    }
    p.len() == 6 && t.len() == 6 && p.iter().zip(&t).all(|(p, t)| like(p, t))
}
