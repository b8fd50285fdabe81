// SPDX-License-Identifier: GPL-2.0

//! libblkio: a client for block devices. A network device is none, and has to be as good
//! as before when the library is done with it.

use super::{built, virtio_driver, ClientTest};
use crate::{
    check, fail,
    harness::Context,
    outcome::{Outcome, While},
    parent::Parent,
    sys,
    vhost::{NewDevice, BASIC},
};
use ::virtio_driver::VirtioFeatureFlags;
use std::{
    ffi::{c_char, c_int, c_void, CStr, CString},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr::null_mut,
};

pub const TESTS: &[ClientTest] = &[ClientTest::new(
    "libblkio.refused",
    "libblkio, driver virtio-blk-vhost-vdpa",
    refused,
)];

fn refused(context: &mut Context) -> Outcome {
    let folder = built("libblkio")?;
    let version = sys::read_line(folder.join("version"))?;
    context.version(format_args!("libblkio {version}"));
    let library = Library::open(&folder.join("libblkio.so.1")).when("the library")?;
    attempt(context, &library, context.parent.device("block"))?;
    if context.parent == Parent::Rvdpa {
        // It asks for whatever has the number of a feature of block devices; here those
        // lack others that they need.
        context.log.expect(&["block", "the driver wants"])?;
        // Here they are fine, and the configuration is too short.
        attempt(context, &library, NewDevice::named("plain").features(BASIC))?;
        check!(
            !context
                .log
                .since()?
                .iter()
                .any(|line| line.contains("plain: the driver wants")),
            "the features of a plain device are refused"
        );
    }
    context.exercised(
        "3 times: a network device opened as a block device, which is refused; then 50 frames",
    );
    Ok(())
}

/// Tries a network device as a block device, and then as what it is.
fn attempt(context: &mut Context, library: &Library, device: NewDevice) -> Outcome {
    let name = device.name.to_owned();
    let (device, path) = device.make()?;
    for round in 0..3 {
        context.step(format_args!("{name}, round {round}: as a block device"));
        let Some(error) = library.open_block(&path)? else {
            fail!("it takes {name} for a block device");
        };
        context.step(format_args!("{name}, round {round}: as a network device"));
        virtio_driver::looped(&path, VirtioFeatureFlags::empty(), 50)
            .when("the device after it")?;
        if round == 0 {
            context.note(format_args!("{name}: {error}"));
        }
    }
    device.delete()
}

/// `struct blkio`
type Blkio = c_void;

/// What is used of the library.
struct Library {
    create: unsafe extern "C" fn(*const c_char, *mut *mut Blkio) -> c_int,
    set_str: unsafe extern "C" fn(*mut Blkio, *const c_char, *const c_char) -> c_int,
    connect: unsafe extern "C" fn(*mut Blkio) -> c_int,
    start: unsafe extern "C" fn(*mut Blkio) -> c_int,
    get_error_msg: unsafe extern "C" fn() -> *const c_char,
    destroy: unsafe extern "C" fn(*mut *mut Blkio),
}

impl Library {
    fn open(path: &Path) -> Option<Self> {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: The library does nothing when it is loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        let symbol = |name: &CStr| {
            // SAFETY: The handle is not null, and never closed.
            let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
            (!address.is_null()).then_some(address)
        };
        if handle.is_null() {
            return None;
        }
        // SAFETY: These are the functions of those names, as `blkio.h` declares them.
        unsafe {
            use std::mem::transmute;
            Some(Self {
                create: transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*const c_char, *mut *mut Blkio) -> c_int,
                >(symbol(c"blkio_create")?),
                set_str: transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut Blkio, *const c_char, *const c_char) -> c_int,
                >(symbol(c"blkio_set_str")?),
                connect: transmute::<*mut c_void, unsafe extern "C" fn(*mut Blkio) -> c_int>(
                    symbol(c"blkio_connect")?,
                ),
                start: transmute::<*mut c_void, unsafe extern "C" fn(*mut Blkio) -> c_int>(symbol(
                    c"blkio_start",
                )?),
                get_error_msg: transmute::<*mut c_void, unsafe extern "C" fn() -> *const c_char>(
                    symbol(c"blkio_get_error_msg")?,
                ),
                destroy: transmute::<*mut c_void, unsafe extern "C" fn(*mut *mut Blkio)>(symbol(
                    c"blkio_destroy",
                )?),
            })
        }
    }

    /// Opens a device as a block device. Returns the library's words if it does not want to.
    fn open_block(&self, path: &str) -> Outcome<Option<String>> {
        let path = CString::new(path).expect("no NUL in paths");
        let mut blkio: *mut Blkio = null_mut();
        // SAFETY: The arguments are valid; `blkio` is used only if it was made, and
        // destroyed once.
        unsafe {
            let made = (self.create)(c"virtio-blk-vhost-vdpa".as_ptr(), &raw mut blkio);
            check!(made == 0, "blkio_create: {}", self.error());
            let set = (self.set_str)(blkio, c"path".as_ptr(), path.as_ptr());
            let refused = if (self.connect)(blkio) != 0 {
                Some(format!("blkio_connect: {}", self.error()))
            } else if (self.start)(blkio) != 0 {
                Some(format!("blkio_start: {}", self.error()))
            } else {
                None
            };
            (self.destroy)(&raw mut blkio);
            check!(set == 0, "blkio_set_str");
            Ok(refused)
        }
    }

    fn error(&self) -> String {
        // SAFETY: It is a string that is good until the next call of this thread.
        let text = unsafe { CStr::from_ptr((self.get_error_msg)()) };
        text.to_string_lossy().into_owned()
    }
}
