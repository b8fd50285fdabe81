// SPDX-License-Identifier: GPL-2.0

//! Carrying out commands of the control queue.

use super::{
    notify::Notify,
    port::Port,
    queue::Counters,
    steering::{
        Spread,
        Steering, //
    },
    transmit::Transmit,
    worker::Worker, //
};
use crate::{
    net::{
        filter::Modes,
        flow::{
            HashTypes,
            Toeplitz,
            SUMS, //
        },
    },
    vdpa::{
        get_nospec,
        CoalescingParameters, //
    },
    virtio::{
        chain::{
            Walk,
            Writer, //
        },
        fault::QueueError,
        features::Features,
        net::{
            coalescing,
            control::{
                Command,
                Limits,
                RxMode, //
            },
            rss::{
                Indirection,
                MAX_KEY_LEN, //
            },
            stats::{
                self,
                QueueKind,
                Reply,
                StatsRequest,
                StatsRequests,
                StatsTypes, //
            },
        },
    },
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::Arc, //
};

/// What the driver has asked for about received frames.
pub(super) struct Wishes {
    /// How many pairs are in use.
    pairs: u16,
    /// Which queue a hash means, if the driver has said so.
    table: Option<Indirection>,
    hash_types: HashTypes,
    key: [u8; MAX_KEY_LEN],
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            pairs: 1,
            table: None,
            hash_types: HashTypes::default(),
            key: [0; MAX_KEY_LEN],
        }
    }
}

impl Wishes {
    fn set_hash(&mut self, types: u32, key: &[u8]) {
        self.hash_types = HashTypes(types);
        self.key = [0; MAX_KEY_LEN];
        for (to, from) in self.key.iter_mut().zip(key) {
            *to = *from;
        }
    }

    /// Makes a steering of it.
    fn steering(&self, features: Features) -> Result<Arc<Steering>, AllocError> {
        let report = features.contains(Features::NET_HASH_REPORT);
        let hashes = report || self.table.is_some();
        let spread = match &self.table {
            Some(table) => Spread::Table(KBox::new(*table, GFP_ATOMIC)?),
            None => Spread::Automatic(self.pairs),
        };
        let hasher = if hashes && self.hash_types != HashTypes::default() {
            let room = KVec::from_elem([0; 16], SUMS, GFP_ATOMIC)?;
            Some((self.hash_types, Toeplitz::new(room, &self.key)))
        } else {
            None
        };
        let steering = Steering {
            spread,
            hasher,
            report,
        };
        Arc::new(steering, GFP_ATOMIC)
    }
}

/// What follows the acknowledgement of a command.
pub(super) enum Answer<'a> {
    Nothing,
    Bytes([u8; 8]),
    /// The statistics that were asked for. The counters are those of the control queue.
    Statistics(StatsRequests<'a>, stats::Control),
}

/// Who carries out commands.
pub(super) struct Commander {
    port: Arc<Port>,
    transmitters: KVec<Arc<Worker<Transmit>>>,
}

impl Commander {
    pub(super) fn new(port: Arc<Port>, transmitters: KVec<Arc<Worker<Transmit>>>) -> Self {
        Self { port, transmitters }
    }

    /// Carries out a command. None if that cannot be. `so_far` is how many commands there
    /// were, and how many of them failed.
    pub(super) fn execute<'c>(
        &self,
        command: &Command<'c>,
        limits: &Limits,
        wishes: &mut Wishes,
        so_far: (u64, u64),
    ) -> Option<Answer<'c>> {
        let port = &self.port;
        match command {
            Command::Rx(mode, on) => port.set_filter(|filter| filter.set_mode(of(*mode), *on)),
            Command::MacTableSet(tables) => port.set_filter(|filter| {
                filter.set_addresses(
                    tables.unicast.iter().map(|mac| mac.0),
                    tables.multicast.iter().map(|mac| mac.0),
                )
            }),
            Command::MacAddrSet(mac) => {
                if *mac != port.shared.mac() {
                    port.set_mac(*mac);
                }
            }
            Command::VlanAdd(id) => port.set_filter(|filter| filter.set_vlan(*id, true)),
            Command::VlanDel(id) => port.set_filter(|filter| filter.set_vlan(*id, false)),
            Command::AnnounceAck => port.shared.announced(),
            Command::VqPairsSet(pairs) => {
                wishes.pairs = *pairs;
                wishes.table = None;
                port.set_steering(wishes.steering(limits.features).ok()?);
            }
            Command::RssConfig(config) => {
                wishes.set_hash(config.hash_types, config.key);
                wishes.table = Some(Indirection::new(config));
                port.set_steering(wishes.steering(limits.features).ok()?);
            }
            Command::HashConfig(config) => {
                wishes.set_hash(config.hash_types, config.key);
                port.set_steering(wishes.steering(limits.features).ok()?);
            }
            Command::GuestOffloadsSet(offloads) => {
                for receiver in &port.receivers {
                    receiver.attachment().state().format.offloads = *offloads;
                }
            }
            Command::CoalTxSet(coalescing) => {
                for transmitter in &self.transmitters {
                    transmitter.notify.set_coalescing(from(coalescing));
                }
            }
            Command::CoalRxSet(coalescing) => {
                for receiver in &port.receivers {
                    receiver.notify.set_coalescing(from(coalescing));
                }
            }
            Command::CoalVqSet(index, coalescing) => self
                .enabled(*index, limits)?
                .set_coalescing(from(coalescing)),
            Command::CoalVqGet(index) => {
                let CoalescingParameters {
                    max_usecs,
                    max_packets,
                } = self.enabled(*index, limits)?.coalescing();
                let coalescing = coalescing::Coalescing {
                    max_packets,
                    max_usecs,
                };
                return Some(Answer::Bytes(coalescing.to_bytes()));
            }
            Command::StatsQuery(types) => return Some(Answer::Bytes(types.to_bytes())),
            Command::StatsGet(requests) => {
                let (commands, errors) = so_far;
                let control = stats::Control {
                    commands: commands + 1,
                    ok: commands.saturating_sub(errors) + 1,
                };
                return Some(Answer::Statistics(*requests, control));
            }
        }
        Some(Answer::Nothing)
    }

    /// How a receive or transmit queue and its driver call each other, if the driver has
    /// enabled it.
    fn enabled(&self, index: u16, limits: &Limits) -> Option<&Notify> {
        let pair = usize::from(index / 2);
        let (notify, enabled) = match limits.kind(index)? {
            QueueKind::Receive => {
                let receiver = get_nospec(&self.port.receivers, pair)?;
                (&receiver.notify, receiver.with(|vq| vq.is_running()))
            }
            QueueKind::Transmit => {
                let transmitter = get_nospec(&self.transmitters, pair)?;
                (&transmitter.notify, transmitter.with(|vq| vq.is_running()))
            }
            QueueKind::Control => return None,
        };
        enabled.then_some(notify)
    }

    /// Writes what follows the acknowledgement, of `room` bytes in all.
    pub(super) fn answer<'m, W: Walk<'m>>(
        &self,
        answer: &Answer<'_>,
        room: u64,
        writer: &mut Writer<'m, W>,
    ) -> Result<(), QueueError> {
        match answer {
            Answer::Nothing => {}
            Answer::Bytes(bytes) => {
                writer.write(bytes)?;
            }
            Answer::Statistics(requests, control) => {
                let mut left = room.saturating_sub(1);
                for request in requests.iter() {
                    for types in request.types.iter() {
                        let mut bytes = [0; stats::MAX_REPLY_LEN];
                        let Some(reply) = self.reply(&request, types, control) else {
                            continue;
                        };
                        let Some(len) = reply.write(request.vq_index, &mut bytes) else {
                            continue;
                        };
                        // Whole ones only.
                        left = match left.checked_sub(len as u64) {
                            Some(left) => left,
                            None => return Ok(()),
                        };
                        writer.write(bytes.get(..len).unwrap_or(&[]))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn reply(
        &self,
        request: &StatsRequest,
        types: StatsTypes,
        control: &stats::Control,
    ) -> Option<Reply> {
        let pair = usize::from(request.vq_index / 2);
        Some(match request.kind {
            QueueKind::Control => Reply::Control(*control),
            QueueKind::Receive => {
                let receiver = get_nospec(&self.port.receivers, pair)?;
                let counters = receiver.with(|vq| vq.counters);
                receive(&counters, receiver.notify.kicks(), types)?
            }
            QueueKind::Transmit => {
                let transmitter = get_nospec(&self.transmitters, pair)?;
                let counters = transmitter.with(|vq| vq.counters);
                transmit(&counters, transmitter.notify.kicks(), types)?
            }
        })
    }
}

/// Statistics of a receive queue.
fn receive(counters: &Counters, kicks: u64, types: StatsTypes) -> Option<Reply> {
    let overruns = counters.drops_no_buffer + counters.drops_too_large;
    Some(match types {
        StatsTypes::RX_BASIC => Reply::RxBasic(stats::Basic {
            notifications: kicks,
            packets: counters.packets,
            bytes: counters.bytes,
            interrupts: counters.interrupts_raised,
            drops: overruns,
            overruns_or_malformed: overruns,
        }),
        StatsTypes::RX_CSUM => Reply::RxCsum(stats::RxCsum {
            valid: 0,
            needs: counters.checksums,
            none: counters.packets.saturating_sub(counters.checksums),
            bad: 0,
        }),
        StatsTypes::RX_GSO => Reply::RxGso(stats::RxGso {
            packets: counters.large_packets,
            bytes: counters.large_bytes,
            packets_coalesced: 0,
            bytes_coalesced: 0,
        }),
        _ => return None,
    })
}

/// Statistics of a transmit queue.
fn transmit(counters: &Counters, kicks: u64, types: StatsTypes) -> Option<Reply> {
    let malformed = counters.drops_runt + counters.drops_malformed;
    Some(match types {
        StatsTypes::TX_BASIC => Reply::TxBasic(stats::Basic {
            notifications: kicks,
            packets: counters.packets,
            bytes: counters.bytes,
            interrupts: counters.interrupts_raised,
            drops: malformed + counters.drops_link_down,
            overruns_or_malformed: malformed,
        }),
        StatsTypes::TX_CSUM => Reply::TxCsum(stats::TxCsum {
            none: counters.packets.saturating_sub(counters.checksums),
            needs: counters.checksums,
        }),
        StatsTypes::TX_GSO => Reply::TxGso(stats::TxGso {
            packets: counters.large_packets,
            bytes: counters.large_bytes,
            segments: 0,
            segments_bytes: 0,
            packets_noseg: counters.large_packets,
            bytes_noseg: counters.large_bytes,
        }),
        _ => return None,
    })
}

fn from(coalescing: &coalescing::Coalescing) -> CoalescingParameters {
    CoalescingParameters {
        max_usecs: coalescing.max_usecs,
        max_packets: coalescing.max_packets,
    }
}

fn of(mode: RxMode) -> Modes {
    match mode {
        RxMode::Promisc => Modes::PROMISC,
        RxMode::AllMulti => Modes::ALLMULTI,
        RxMode::AllUni => Modes::ALLUNI,
        RxMode::NoMulti => Modes::NOMULTI,
        RxMode::NoUni => Modes::NOUNI,
        RxMode::NoBcast => Modes::NOBCAST,
    }
}
