//! The body of the fuzz target for the launcher: a plain function that panics where an invariant does not hold.

use sandbox::{Program, Spec};
use std::path::{Component, Path};

/// Whatever comes in: what passes the check names nothing outside of its own places, and says the same when it is passed
/// on to a template's init.
pub fn launcher(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(data) else { return };
    if spec.check().is_err() {
        return;
    }
    let plain = |path: &Path| path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    assert!(Path::new(&spec.id).components().count() == 1 && plain(Path::new(&spec.id)) && !spec.id.starts_with('/'));
    assert!(
        spec.mounts
            .iter()
            .all(|mount| plain(&mount.target) && mount.target.is_absolute() && mount.target != Path::new("/"))
    );
    assert!(plain(Path::new(&spec.cwd)) && spec.limits.memory_bytes > 0 && spec.limits.pids > 0);
    if let Program::Exec(argv) = &spec.program {
        assert!(argv[0].starts_with('/') && argv.iter().all(|argument| !argument.contains('\0')));
    }
    let again = serde_json::to_vec(&spec).expect("it is written");
    assert_eq!(serde_json::from_slice::<Spec>(&again).expect("it is read again"), spec);
}
