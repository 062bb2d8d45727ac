//! Images from layouts that the tests make, unpacked by the process that does so: what comes of them, and what of hostile ones.

mod hostile;
mod layout;
mod ordinary;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if std::env::args().nth(1).as_deref() == Some(images::UNPACKER_ARG) {
        images::unpacker_main();
    }
    let tests: [(&'static str, fn()); 9] = [
        ("layers_lie_over_each_other", ordinary::layers_lie_over_each_other),
        ("every_packing_and_both_kinds_of_layouts", ordinary::every_packing_and_both_kinds_of_layouts),
        ("what_is_here_is_not_pulled_again", ordinary::what_is_here_is_not_pulled_again),
        ("rights_are_taken_away", ordinary::rights_are_taken_away),
        ("a_layer_that_is_another_is_refused", hostile::a_layer_that_is_another_is_refused),
        ("odd_entries_are_refused", hostile::odd_entries_are_refused),
        ("links_lead_nowhere", hostile::links_lead_nowhere),
        ("bombs_are_bounded", hostile::bombs_are_bounded),
        ("noise_is_refused", hostile::noise_is_refused),
    ];
    let trial = |(name, test): (&'static str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().map(trial).collect()).exit()
}
