// SPDX-License-Identifier: GPL-2.0

//! QEMU itself.

use super::{Qmp, Qtest, Ram};
use crate::{
    arena::View,
    check, fail, frame, ioctl,
    outcome::{Outcome, While},
    sys::{read_line, wait_for},
};
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    time::Duration,
};

/// How many mappings vhost-vdpa takes for an address space. Memory that is scattered, as that
/// of a small file is, needs one for each page.
const PIECES: &str = "/sys/module/vhost_vdpa/parameters/max_iotlb_entries";

const PROGRAM: &str = "qemu-system-x86_64";

/// What the machine's processor begins with: to halt, and to take no interrupts. QEMU's own
/// accelerator for this, which is none, is not there in Debian's package.
fn firmware() -> Vec<u8> {
    const LEN: usize = 64 << 10;
    const RESET_VECTOR: usize = LEN - 16;
    // cli; hlt; jmp to the hlt
    const HALT: [u8; 4] = [0xfa, 0xf4, 0xeb, 0xfd];
    let mut image = vec![0; LEN];
    image[RESET_VECTOR..][..HALT.len()].copy_from_slice(&HALT);
    image
}

/// How many bytes of memory a machine has.
pub const RAM: usize = 32 << 20;

/// How long QEMU may take to start and to end, in a guest whose processor is emulated.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that is to be made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What its files are called.
    pub name: &'static str,
    /// The character device behind its network card; there is no card without one.
    pub path: String,
    /// The address of the card. QEMU sets it by command wherever it sees the control queue.
    pub mac: [u8; 6],
    /// More properties of the backend, each after a comma.
    pub netdev: &'static str,
    /// More properties of the network card.
    pub card: &'static str,
    /// Whether it waits for the state of another machine.
    pub incoming: bool,
}

/// QEMU, which ends with the value.
pub struct Machine {
    process: Process,
    pub qtest: Qtest,
    pub qmp: Qmp,
    pub ram: Ram,
}

impl Machine {
    /// Starts QEMU.
    pub fn start(setup: &Setup) -> Outcome<Self> {
        // vhost-vdpa counts what it pins, and in how many pieces it is.
        ioctl::unlimited_pinning()?;
        let most: usize = read_line(PIECES)?.parse().when(PIECES)?;
        check!(most >= RAM / 4096, "{PIECES} is {most}");
        let mut process = Process::start(setup)?;
        match process.connect() {
            Ok((qtest, qmp, ram)) => Ok(Self {
                process,
                qtest,
                qmp,
                ram,
            }),
            Err(stop) => fail!("{}; QEMU said: {}", stop.text(), process.said()),
        }
    }

    /// What QEMU has complained of so far.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// The ioctls of QEMU that were refused so far, if they are traced.
    pub fn refused(&self) -> Vec<String> {
        let text = fs::read_to_string(self.process.file("strace")).unwrap_or_default();
        let refused = text.lines().filter(|line| line.contains("= -1 E"));
        refused.map(str::to_owned).collect()
    }

    /// A file of the machine's, for a socket.
    pub fn file(&self, name: &str) -> String {
        self.process.file(name)
    }

    /// Resets the machine, as the button on its case does.
    pub fn reset(&mut self) -> Outcome {
        self.qmp.execute("system_reset", json!({}))?;
        self.qmp.wait_event("RESET")
    }

    /// Stops the machine.
    pub fn stop(&mut self) -> Outcome {
        self.qmp.execute("stop", json!({}))?;
        self.qmp.wait_event("STOP")
    }

    /// Lets it go on.
    pub fn cont(&mut self) -> Outcome {
        self.qmp.execute("cont", json!({}))?;
        self.qmp.wait_event("RESUME")
    }

    /// Ends it as a user does. Returns what it has complained of.
    pub fn quit(mut self) -> Outcome<String> {
        self.qmp.execute("quit", json!({}))?;
        let process = &mut self.process;
        wait_for("QEMU's end", PATIENCE, || {
            match process.child.try_wait().when("QEMU's end")? {
                None => Ok(None),
                Some(status) if status.success() => Ok(Some(())),
                Some(status) => fail!("QEMU ended with {status}: {}", process.said()),
            }
        })?;
        Ok(self.said())
    }
}

/// The process, with its files. Both end with the value.
struct Process {
    child: Child,
    folder: Folder,
}

/// A folder that goes with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(setup: &Setup) -> Outcome<Self> {
        let name = format!("rvdpa-qemu-{}-{}", process::id(), setup.name);
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).when(folder.0.display())?;
        fs::write(folder.0.join("firmware"), firmware()).when("the machine's firmware")?;
        let child = Self::spawn(setup, &folder.0)?;
        Ok(Self { child, folder })
    }

    fn file(&self, name: &str) -> String {
        self.folder.0.join(name).display().to_string()
    }

    /// What QEMU has written.
    fn said(&self) -> String {
        let text = fs::read_to_string(self.file("errors")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join("; ")
    }

    fn spawn(setup: &Setup, folder: &Path) -> Outcome<Child> {
        let at = |name: &str| folder.join(name).display().to_string();
        let Setup {
            path, netdev, card, ..
        } = setup;
        // Which ioctl was refused is to be seen with this.
        let trace = at("strace");
        let mut command = match std::env::var_os("RVDPA_STRACE") {
            None => Command::new(PROGRAM),
            Some(_) => {
                let mut command = Command::new("strace");
                command.args(["-f", "-e", "trace=ioctl", "-o", &trace, PROGRAM]);
                command
            }
        };
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args([
                "-accel",
                "tcg,tb-size=1",
                "-machine",
                "pc,memory-backend=ram",
            ])
            .args(["-bios", &at("firmware")])
            .args(["-m", &format!("size={}k", RAM >> 10)])
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=ram,share=on,size={RAM},mem-path={}",
                at("ram")
            ))
            .args([
                "-qtest",
                &format!("unix:{},server=on,wait=off", at("qtest")),
            ])
            .args(["-qtest-log", "none"])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))]);
        if !path.is_empty() {
            command
                .args([
                    "-netdev",
                    &format!("vhost-vdpa,id=net,vhostdev={path}{netdev}"),
                ])
                .arg("-device")
                .arg(format!(
                    "virtio-net-pci,id=card,netdev=net,romfile=,mac={}{card}",
                    frame::display(setup.mac)
                ));
        }
        if setup.incoming {
            command.args(["-incoming", "defer"]);
        }
        let errors = File::create(folder.join("errors")).when("a file for QEMU's errors")?;
        command
            .stdin(Stdio::null())
            .stdout(errors.try_clone().when("a file for QEMU's errors")?)
            .stderr(errors);
        // SAFETY: The call is one that may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // It must not outlive the test, whatever comes of that.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command.spawn().when(PROGRAM)
    }

    fn connect(&mut self) -> Outcome<(Qtest, Qmp, Ram)> {
        let qtest = self.socket("qtest")?;
        let qmp = self.socket("qmp")?;
        // Until it answers, the memory may not be there.
        let qmp = Qmp::new(qmp)?;
        let path = self.folder.0.join("ram");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .when(path.display())?;
        let view = View::of_file(file.into(), 0, RAM)?;
        Ok((Qtest::new(qtest)?, qmp, Ram::new(view)))
    }

    fn socket(&mut self, name: &str) -> Outcome<UnixStream> {
        let path = self.folder.0.join(name);
        wait_for("QEMU's sockets", PATIENCE, || {
            if let Some(status) = self.child.try_wait().when("QEMU's status")? {
                fail!("QEMU ended with {status}");
            }
            Ok(UnixStream::connect(&path).ok())
        })
    }
}
