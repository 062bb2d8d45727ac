//! The codecs on the tables of the real services.

mod tables;

#[test]
fn patterns_compile() {
    for service in [&tables::lambda::SERVICE, &tables::logs::SERVICE, &tables::usage::SERVICE] {
        for shape in service.shapes {
            if let wire::table::Kind::String { pattern: Some(pattern), .. } = &shape.kind {
                pattern.matches("x");
            }
        }
    }
}
