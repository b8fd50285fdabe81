// SPDX-License-Identifier: GPL-2.0

//! Making commands of bytes: a function per class.

use super::{
    super::{
        super::features::Features,
        coalescing::Coalescing,
        offload::guest_offloads,
        rss::{
            HashConfig,
            RssConfig, //
        },
        stats::{
            QueueKind,
            StatsRequests, //
        },
        MacAddress, //
    },
    announce,
    coalescing,
    data::Data,
    mac,
    mq,
    offloads,
    rx,
    stats,
    vlan,
    Command,
    CommandError,
    Limits,
    MacTables,
    RxMode, //
};

/// Largest VLAN ID.
const MAX_VLAN: u16 = 4095;

/// What comes of a command of a known class: none if the class has no such command.
type Parsed<'a> = Result<Option<Command<'a>>, CommandError>;

/// See [`Command::parse`].
pub(super) fn parse<'a>(
    header: [u8; super::HEADER_LEN],
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<Command<'a>, CommandError> {
    let [class, command] = header;
    let data = &mut Data::new(bytes);
    let parsed = match class {
        rx::CLASS => parse_rx(command, data, limits),
        mac::CLASS => parse_mac(command, data, limits),
        vlan::CLASS => parse_vlan(command, data, limits),
        announce::CLASS => parse_announce(command, limits),
        mq::CLASS => parse_mq(command, data, limits),
        offloads::CLASS => parse_offloads(command, data, limits),
        coalescing::CLASS => parse_coalescing(command, data, limits),
        stats::CLASS => parse_stats(command, data, limits),
        _ => Err(CommandError::Class(class)),
    }?;
    let parsed = parsed.ok_or(CommandError::Command { class, command })?;
    data.end()?;
    Ok(parsed)
}

fn parse_rx<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    type F = Features;
    let (mode, feature) = match command {
        rx::PROMISC => (RxMode::Promisc, F::NET_CTRL_RX),
        rx::ALLMULTI => (RxMode::AllMulti, F::NET_CTRL_RX),
        rx::ALLUNI => (RxMode::AllUni, F::NET_CTRL_RX_EXTRA),
        rx::NOMULTI => (RxMode::NoMulti, F::NET_CTRL_RX_EXTRA),
        rx::NOUNI => (RxMode::NoUni, F::NET_CTRL_RX_EXTRA),
        rx::NOBCAST => (RxMode::NoBcast, F::NET_CTRL_RX_EXTRA),
        _ => return Ok(None),
    };
    limits.need(feature)?;
    Ok(Some(Command::Rx(mode, data.u8()? != 0)))
}

fn parse_mac<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    Ok(Some(match command {
        mac::TABLE_SET => {
            limits.need(Features::NET_CTRL_RX)?;
            Command::MacTableSet(MacTables::take(data)?)
        }
        mac::ADDR_SET => {
            limits.need(Features::NET_CTRL_MAC_ADDR)?;
            let mac = MacAddress(data.mac()?);
            if !mac.is_unicast() {
                return Err(CommandError::NoStation(mac));
            }
            Command::MacAddrSet(mac)
        }
        _ => return Ok(None),
    }))
}

fn parse_vlan<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    let make = match command {
        vlan::ADD => Command::VlanAdd,
        vlan::DEL => Command::VlanDel,
        _ => return Ok(None),
    };
    limits.need(Features::NET_CTRL_VLAN)?;
    match data.u16()? {
        id @ ..=MAX_VLAN => Ok(Some(make(id))),
        id => Err(CommandError::Vlan(id)),
    }
}

fn parse_announce<'a>(command: u8, limits: &Limits) -> Parsed<'a> {
    if command != announce::ACK {
        return Ok(None);
    }
    limits.need(Features::NET_GUEST_ANNOUNCE)?;
    Ok(Some(Command::AnnounceAck))
}

fn parse_mq<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    Ok(Some(match command {
        mq::VQ_PAIRS_SET => {
            limits.need(Features::NET_MQ)?;
            let pairs = data.u16()?;
            if pairs == 0 || pairs > limits.pairs {
                return Err(CommandError::Pairs(pairs));
            }
            Command::VqPairsSet(pairs)
        }
        mq::RSS_CONFIG => {
            limits.need(Features::NET_RSS)?;
            Command::RssConfig(RssConfig::take(data, limits)?)
        }
        mq::HASH_CONFIG => {
            limits.need(Features::NET_HASH_REPORT)?;
            Command::HashConfig(HashConfig::take(data, limits)?)
        }
        _ => return Ok(None),
    }))
}

fn parse_offloads<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    if command != offloads::SET {
        return Ok(None);
    }
    limits.need(Features::NET_CTRL_GUEST_OFFLOADS)?;
    let set = guest_offloads(data.u64()?, limits.features).map_err(CommandError::Offloads)?;
    Ok(Some(Command::GuestOffloadsSet(set)))
}

fn parse_coalescing<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    Ok(Some(match command {
        coalescing::TX_SET => {
            limits.need(Features::NET_NOTF_COAL)?;
            Command::CoalTxSet(Coalescing::take(data)?)
        }
        coalescing::RX_SET => {
            limits.need(Features::NET_NOTF_COAL)?;
            Command::CoalRxSet(Coalescing::take(data)?)
        }
        coalescing::VQ_SET => {
            limits.need(Features::NET_VQ_NOTF_COAL)?;
            let index = take_coalescing_queue(data, limits)?;
            Command::CoalVqSet(index, Coalescing::take(data)?)
        }
        coalescing::VQ_GET => {
            limits.need(Features::NET_VQ_NOTF_COAL)?;
            let index = take_coalescing_queue(data, limits)?;
            // The parameters are for the device to fill in. A driver may give it the whole
            // structure all the same.
            if !data.is_empty() {
                Coalescing::take(data)?;
            }
            Command::CoalVqGet(index)
        }
        _ => return Ok(None),
    }))
}

/// Takes the index of a transmit or receive queue, and what is reserved behind it.
fn take_coalescing_queue(data: &mut Data<'_>, limits: &Limits) -> Result<u16, CommandError> {
    let index = data.u16()?;
    data.u16()?;
    match limits.kind(index) {
        Some(QueueKind::Receive | QueueKind::Transmit) => Ok(index),
        Some(QueueKind::Control) | None => Err(CommandError::Queue(index)),
    }
}

fn parse_stats<'a>(command: u8, data: &mut Data<'a>, limits: &Limits) -> Parsed<'a> {
    Ok(Some(match command {
        stats::QUERY => {
            limits.need(Features::NET_DEVICE_STATS)?;
            Command::StatsQuery(limits.stats.with(limits.features))
        }
        stats::GET => {
            limits.need(Features::NET_DEVICE_STATS)?;
            Command::StatsGet(StatsRequests::take(data, limits)?)
        }
        _ => return Ok(None),
    }))
}
