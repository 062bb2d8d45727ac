//! Whether this host hands packets on, which it must for the router. Where it did not before us it does from then on, for
//! the router's packets alone, until the last node on it stops.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";

/// Turns forwarding on. Gives the devices that are to be kept apart nevertheless: none where others had turned it on.
/// Called when the router's device is there: a node that stops in the same moment sees it.
pub fn turn_on() -> io::Result<Vec<String>> {
    let _turn = turn()?;
    let mark = mark()?;
    if fs::read_to_string(SWITCH)?.trim() == "0" {
        fs::write(&mark, "off before any node of wadi\n")?;
        fs::write(SWITCH, "1")?;
    }
    if !mark.exists() {
        return Ok(Vec::new());
    }
    Ok(devices()?.into_iter().filter(|device| device != "lo" && !device.starts_with("wadi-")).collect())
}

/// Turns it off again, if it was us who turned it on and no other node needs it.
pub fn turn_off() -> io::Result<()> {
    let _turn = turn()?;
    let mark = mark()?;
    if mark.exists() && !devices()?.iter().any(|device| device.starts_with("wadi-")) {
        fs::write(SWITCH, "0")?;
        fs::remove_file(mark)?;
    }
    Ok(())
}

/// One node at a time, as long as this is open.
fn turn() -> io::Result<File> {
    let directory = File::open("/run")?;
    directory.lock()?;
    Ok(directory)
}

/// A file of the host that says that we turned it on, in the network that we are in; it goes when the host restarts, as
/// the setting does.
fn mark() -> io::Result<PathBuf> {
    let network = fs::read_link("/proc/thread-self/ns/net")?;
    let number: String = network.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Ok(PathBuf::from(format!("/run/wadi-forwarding-{number}")))
}

fn devices() -> io::Result<Vec<String>> {
    let lines = fs::read_to_string("/proc/thread-self/net/dev")?;
    Ok(lines.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}
