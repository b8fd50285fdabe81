// SPDX-License-Identifier: GPL-2.0

//! A machine in the guest: Linux in QEMU, whose network interface is a port of a switch.
//! `scripts/clients/nested` builds what it boots.

use super::{built, ClientTest};
use crate::{
    check, fail,
    harness::Context,
    outcome::{Outcome, While},
    sys::{self, wait_for},
    wire::{Port, Spec},
};
use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long one start may take, ping included: each instruction is emulated twice.
const START: Duration = Duration::from_secs(900);

pub const TESTS: &[ClientTest] = &[ClientTest::new(
    "nested.ping_and_reboot",
    "Linux virtio_net in QEMU (TCG), vhost-vdpa backend",
    ping_and_reboot,
)
.seconds(2000)
.slow()];

const SERIAL: &str = "/tmp/nested.serial";
const ERRORS: &str = "/tmp/nested.errors";

/// QEMU, which ends with the value or with this process.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ping_and_reboot(context: &mut Context) -> Outcome {
    let folder = built("nested")?;
    let qemu = sys::run(&["qemu-system-x86_64", "--version"])?;
    context.version(format_args!(
        "Linux {} in {}",
        sys::read_line(folder.join("version"))?,
        qemu.lines().next().unwrap_or_default()
    ));
    let (device, path) = context.parent.port("nested", 2)?.make()?;
    let host = Port::new("host", 1, Spec::default())?;
    host.ip("address add 192.0.2.1/24 dev DEV")?;

    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-machine", "pc", "-accel", "tcg", "-cpu", "qemu64"])
        .args(["-m", "96", "-serial", &format!("file:{SERIAL}")])
        .args(["-kernel", &file("vmlinux"), "-initrd", &file("initramfs")])
        .args(["-append", "console=ttyS0 quiet reboot=k panic=-1"])
        .args(["-netdev", &format!("vhost-vdpa,vhostdev={path},id=n")])
        .args([
            "-device",
            "virtio-net-pci,netdev=n,disable-legacy=on,romfile=",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(ERRORS).when(ERRORS)?)
        .spawn()
        .when("QEMU")?;
    let mut machine = Machine(child);

    for round in 1..=2 {
        context.step(format_args!("start {round} of the nested guest"));
        let start = Instant::now();
        pinged(&mut machine, round)?;
        context.note(format_args!(
            "start {round}: {} s until it had pinged",
            start.elapsed().as_secs()
        ));
    }
    let echoes = host.total(0, "rx packets")?;
    check!(echoes >= 10, "the other port got {echoes} packets");
    drop(machine);
    context.exercised(
        "5 pings of 1000 bytes to a virtio-vdpa interface on the same switch, the nested guest \
         started again, 5 pings more",
    );
    device.delete()
}

/// Waits until all has been pinged so many times.
fn pinged(machine: &mut Machine, times: usize) -> Outcome {
    wait_for("a ping from the nested guest", START, || {
        let said = fs::read(SERIAL).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        if let Some(status) = machine.0.try_wait().when("QEMU")? {
            let errors = fs::read_to_string(ERRORS).unwrap_or_default();
            fail!("QEMU ended ({status}): {errors} {said}");
        }
        let whole = said.matches(" 0% packet loss").count();
        check!(
            said.matches("nested: starts again").count() <= whole,
            "not every ping was answered: {said}"
        );
        Ok((whole >= times).then_some(()))
    })
    .when(fs::read_to_string(SERIAL).unwrap_or_default())
}
