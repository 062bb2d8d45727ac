//! The process driver on the real kernel: what a sandbox sees, may, costs, and leaves behind. Most of it needs root,
//! and says so by counting as ignored without.
#![allow(clippy::unwrap_used)]

mod bench;
mod cells;
mod confine;
mod containers;
mod errands;
mod lifecycle;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if std::env::args().nth(1).as_deref() == Some(sandbox::LAUNCHER_ARG) {
        sandbox::launcher_main();
    }
    if std::env::args().nth(1).as_deref() == Some(errands::VERB) {
        errands::errand_main();
    }
    let mut arguments = Arguments::from_args();
    // One at a time: the tests look at what the whole process and its launcher leave behind.
    arguments.test_threads = Some(1);
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: the tests of the process driver are skipped, and counted as ignored");
    }
    let tests: [(&'static str, fn()); 26] = [
        ("sees_only_its_own_root", confine::sees_only_its_own_root),
        ("has_no_rights", confine::has_no_rights),
        ("is_refused_what_changes_its_confinement", confine::is_refused_what_changes_its_confinement),
        ("reaches_nothing_but_the_listener", confine::reaches_nothing_but_the_listener),
        ("reaches_the_host_where_asked", confine::reaches_the_host_where_asked),
        ("mounts_are_as_asked", confine::mounts_are_as_asked),
        ("memory_is_limited_for_the_whole", confine::memory_is_limited_for_the_whole),
        ("a_fork_bomb_is_bounded", confine::a_fork_bomb_is_bounded),
        ("the_processor_is_held_to_a_share_from_when_it_is_told", confine::the_processor_is_held_to_a_share),
        ("root_keeps_its_promises", confine::root_keeps_its_promises),
        ("a_cell_sees_what_it_becomes_and_never_has_rights", cells::a_cell_sees_what_it_becomes_and_never_has_rights),
        ("a_cells_init_has_no_rights_afterwards", cells::a_cells_init_has_no_rights_afterwards),
        ("what_cannot_be_specialised_says_why", cells::what_cannot_be_specialised_says_why),
        ("a_cells_memory_is_limited", cells::a_cells_memory_is_limited),
        ("an_errand_has_its_files_and_nothing_else", errands::has_its_files_and_nothing_else),
        ("works_without_root", confine::works_without_root),
        ("ends_are_told_exactly", lifecycle::ends_are_told_exactly),
        ("output_and_frames_are_pipes", lifecycle::output_and_frames_are_pipes),
        ("kill_ends_everyone_inside", lifecycle::kill_ends_everyone_inside),
        ("what_cannot_be_raised_says_why", lifecycle::what_cannot_be_raised_says_why),
        ("a_call_given_up_leaves_nothing", lifecycle::a_call_given_up_leaves_nothing),
        ("a_dead_launcher_is_replaced", lifecycle::a_dead_launcher_is_replaced),
        ("nothing_is_left_behind", lifecycle::nothing_is_left_behind),
        ("bad_messages_do_not_end_the_launcher", lifecycle::bad_messages_do_not_end_the_launcher),
        ("images_run_what_is_in_them", containers::run_what_is_in_them),
        ("a_program_that_an_image_has_not_is_told_as_such", containers::a_program_that_is_not_there_is_told_as_such),
    ];
    let trial = |(name, test): (&'static str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(!root)
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit()
}
