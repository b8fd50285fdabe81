// SPDX-License-Identifier: GPL-2.0

//! The vDPA bus by generic netlink, without a tool in between that knows better.
//!
//! The numbers are those of `include/uapi/linux/vdpa.h`.

use crate::outcome::{Outcome, Stop, While};
use nix::{
    errno::Errno,
    sys::socket::{
        bind, recv, send, setsockopt, socket, sockopt, AddressFamily, MsgFlags, NetlinkAddr,
        SockFlag, SockProtocol, SockType,
    },
};
use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, OwnedFd},
};

/// Commands of the family.
pub mod command {
    /// Tells of a management device.
    pub const MGMTDEV_GET: u8 = 2;
    /// Makes a device.
    pub const DEV_NEW: u8 = 3;
    /// Deletes a device.
    pub const DEV_DEL: u8 = 4;
    /// Tells of a device.
    pub const DEV_GET: u8 = 5;
    /// Tells of a device's configuration.
    pub const DEV_CONFIG_GET: u8 = 6;
    /// Reads the statistics of a virtqueue.
    pub const DEV_VSTATS_GET: u8 = 7;
    /// Changes a device.
    pub const DEV_ATTR_SET: u8 = 8;
}

/// Attributes of the family.
pub mod attribute {
    pub const MGMTDEV_DEV_NAME: u16 = 2;
    pub const DEV_NAME: u16 = 4;
    pub const NET_CFG_MACADDR: u16 = 10;
    pub const NET_CFG_MAX_VQP: u16 = 12;
    pub const NET_CFG_MTU: u16 = 13;
    pub const QUEUE_INDEX: u16 = 17;
    pub const VENDOR_ATTR_NAME: u16 = 18;
    pub const VENDOR_ATTR_VALUE: u16 = 19;
    pub const FEATURES: u16 = 20;
}

/// The management device of this module.
pub const MGMTDEV: &str = "rvdpasim_net";

const NLMSG_HEADER: usize = 16;
const GENL_HEADER: usize = 4;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
/// Without the flag bits.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// What the bus answers when it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub errno: Errno,
    /// The words of the extended acknowledgment.
    pub extack: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ('{}')", self.errno, self.extack)
    }
}

impl std::error::Error for Refusal {}

/// Attributes of a request.
#[derive(Default, Clone)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds an attribute of any bytes.
    pub fn put(mut self, kind: u16, bytes: &[u8]) -> Self {
        let len = u16::try_from(4 + bytes.len()).expect("attributes of tests are short");
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a string, with its NUL.
    pub fn string(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_owned();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// As they are in a message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The attributes of a device: its name, as the bytes are.
    pub fn named(name: &[u8]) -> Self {
        let mut bytes = name.to_owned();
        bytes.push(0);
        Self::default().put(attribute::DEV_NAME, &bytes)
    }
}

/// Splits attributes.
pub fn parse(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some((&header, _)) = bytes.split_first_chunk::<4>() {
        let [l0, l1, t0, t1] = header;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = bytes.get(4..len) else {
            break;
        };
        found.push((u16::from_ne_bytes([t0, t1]) & NLA_TYPE_MASK, value));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// A socket to the vDPA family.
pub struct Bus {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

impl Bus {
    pub fn new() -> Outcome<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )
        .when("a netlink socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).when("bind")?;
        setsockopt(&socket, sockopt::RcvBuf, &(1 << 20)).when("SO_RCVBUF")?;
        // Words with the errors.
        set_extack(&socket)?;
        let mut bus = Self {
            socket,
            family: GENL_ID_CTRL,
            sequence: 0,
        };
        let name = Attributes::default().string(CTRL_ATTR_FAMILY_NAME, "vdpa");
        let answer = bus
            .request(CTRL_CMD_GETFAMILY, 1, &name)
            .when("netlink family vdpa")?;
        let id = parse(&answer)
            .iter()
            .find_map(|&(kind, value)| (kind == CTRL_ATTR_FAMILY_ID).then_some(value.to_owned()))
            .and_then(|value| <[u8; 2]>::try_from(value).ok())
            .when("the number of the netlink family vdpa")?;
        bus.family = u16::from_ne_bytes(id);
        Ok(bus)
    }

    /// Sends a request and returns the attributes of the answer, if there is one.
    fn request(
        &mut self,
        command: u8,
        version: u8,
        attributes: &Attributes,
    ) -> Result<Vec<u8>, Refusal> {
        let io = |errno| Refusal {
            errno,
            extack: "(the socket's error)".into(),
        };
        self.sequence += 1;
        let len = (NLMSG_HEADER + GENL_HEADER + attributes.0.len()) as u32;
        let mut message = Vec::new();
        message.extend(len.to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([command, version, 0, 0]);
        message.extend(&attributes.0);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).map_err(io)?;

        // The answer, if there is one, comes before the acknowledgment.
        let mut answer = Vec::new();
        let mut buffer = vec![0; 65536];
        loop {
            let len = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(io)?;
            let mut rest = &buffer[..len];
            while let Some((&header, _)) = rest.split_first_chunk::<NLMSG_HEADER>() {
                let [l0, l1, l2, l3, t0, t1, f0, f1, ..] = header;
                let len = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
                let kind = u16::from_ne_bytes([t0, t1]);
                let flags = u16::from_ne_bytes([f0, f1]);
                let body = &rest[NLMSG_HEADER..len];
                if kind == NLMSG_ERROR {
                    return verdict(body, flags).map(|()| answer);
                }
                answer = body[GENL_HEADER..].to_owned();
                rest = &rest[len.next_multiple_of(4).min(rest.len())..];
            }
        }
    }

    /// Sends a command of the vDPA family.
    pub fn command(&mut self, command: u8, attributes: &Attributes) -> Result<Vec<u8>, Refusal> {
        self.request(command, 1, attributes)
    }

    /// Makes a device; `attributes` start with its name.
    pub fn add(&mut self, attributes: Attributes) -> Result<(), Refusal> {
        let attributes = attributes.string(attribute::MGMTDEV_DEV_NAME, MGMTDEV);
        self.command(command::DEV_NEW, &attributes).map(drop)
    }

    /// Deletes a device.
    pub fn delete(&mut self, name: &str) -> Result<(), Refusal> {
        self.command(command::DEV_DEL, &Attributes::named(name.as_bytes()))
            .map(drop)
    }

    /// Gives a device another MAC address.
    pub fn set_mac(&mut self, name: &str, mac: [u8; 6]) -> Result<(), Refusal> {
        let attributes = Attributes::named(name.as_bytes()).put(attribute::NET_CFG_MACADDR, &mac);
        self.command(command::DEV_ATTR_SET, &attributes).map(drop)
    }

    /// The statistics of a virtqueue, by name.
    pub fn statistics(&mut self, name: &str, index: u32) -> Outcome<Statistics> {
        let attributes =
            Attributes::named(name.as_bytes()).put(attribute::QUEUE_INDEX, &index.to_ne_bytes());
        let answer = self
            .command(command::DEV_VSTATS_GET, &attributes)
            .when(format_args!("statistics of {name}, virtqueue {index}"))?;
        let mut numbers = BTreeMap::new();
        let mut last = String::new();
        for (kind, value) in parse(&answer) {
            match kind {
                attribute::VENDOR_ATTR_NAME => {
                    last = String::from_utf8_lossy(value)
                        .trim_end_matches('\0')
                        .to_owned();
                }
                attribute::VENDOR_ATTR_VALUE => {
                    let value = value.try_into().map(u64::from_ne_bytes);
                    numbers.insert(last.clone(), value.when(&last)?);
                }
                _ => {}
            }
        }
        Ok(Statistics(numbers))
    }
}

/// What a virtqueue has counted.
#[derive(Debug, Default, Clone)]
pub struct Statistics(BTreeMap<String, u64>);

impl Statistics {
    /// A number by its name; to ask for one that does not exist is a failure.
    pub fn get(&self, name: &str) -> Outcome<u64> {
        self.0
            .get(name)
            .copied()
            .ok_or_else(|| Stop::Failed(format!("no '{name}' among {:?}", self.0)))
    }

    /// The names of all numbers.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// What an acknowledgment says: its body is an errno and the request's header, which the
/// words follow.
fn verdict(body: &[u8], flags: u16) -> Result<(), Refusal> {
    let errno = body
        .first_chunk()
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if errno == 0 {
        return Ok(());
    }
    let mut extack = String::new();
    if flags & NLM_F_ACK_TLVS != 0 {
        let request = body
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, |bytes| u32::from_ne_bytes(bytes) as usize);
        let request = if flags & NLM_F_CAPPED != 0 {
            NLMSG_HEADER
        } else {
            request.next_multiple_of(4)
        };
        for (kind, value) in parse(body.get(4 + request..).unwrap_or_default()) {
            if kind == NLMSGERR_ATTR_MSG {
                extack = String::from_utf8_lossy(value)
                    .trim_end_matches('\0')
                    .to_owned();
            }
        }
    }
    Err(Refusal {
        errno: Errno::from_raw(-errno),
        extack,
    })
}

fn set_extack(socket: &OwnedFd) -> Outcome {
    let on: libc::c_int = 1;
    // SAFETY: The option's value is an int, which is valid for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    Errno::result(result).when("NETLINK_EXT_ACK")?;
    Ok(())
}
