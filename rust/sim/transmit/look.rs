// SPDX-License-Identifier: GPL-2.0

//! Looking at the frames of a transmit queue: what they are, and where they go.

use super::{
    super::{
        deliver::Work,
        lookups::Route,
        memory::DeviceMemory,
        steering::Steered, //
    },
    Batch,
    Scratch,
    Stop,
    LONG, //
};
use crate::{
    net::{
        flow,
        frame::{
            Headers,
            ETHERNET_LEN,
            ETH_P_8021AD,
            ETH_P_8021Q,
            MAX_HEADERS, //
        },
    },
    vdpa::iommu::Area,
    virtio::{
        chain::{
            Reader,
            Walk, //
        },
        fault::QueueError,
        net::{
            offload::Offload,
            NetHeader, //
        },
        queue::Queue,
    },
};

/// A frame at the front of the transmit queue. What was found of it is in the scratch
/// buffer, because it is too much to be moved about.
pub(super) struct Frame<'m, 'a: 'm, Q: Queue<Area = Area> + 'm> {
    pub(super) head: Q::Head,
    /// What follows the leading bytes.
    pub(super) rest: Reader<'m, Q::Walk<'m, DeviceMemory<'a>>>,
    pub(super) route: Route,
}

/// Why a frame goes nowhere.
enum Reason {
    /// It is shorter than an Ethernet header.
    Runt,
    /// Its virtio header says what cannot be.
    Malformed,
    /// There is no link.
    LinkDown,
}

impl Batch<'_, '_> {
    /// The next frame that is one. None if there are none, or if the batch is over.
    ///
    /// It stays in the queue until it was [`sent`](Self::sent).
    #[inline]
    pub(super) fn next<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
    ) -> Result<Option<Frame<'m, 'a, Q>>, Stop> {
        while !self.is_over() {
            let Some(head) = ring.peek(mem)? else {
                return Ok(None);
            };
            let mut reader = ring.reader(mem, &head)?;
            match self.look(&mut reader)? {
                Ok(route) => {
                    return Ok(Some(Frame {
                        head,
                        rest: reader,
                        route,
                    }))
                }
                Err(reason) => {
                    ring.complete_fully(mem, head, 0)?;
                    self.frames += 1;
                    self.spent += LONG;
                    match reason {
                        Reason::Runt => self.counters.drops_runt += 1,
                        Reason::Malformed => self.counters.drops_malformed += 1,
                        Reason::LinkDown => self.counters.drops_link_down += 1,
                    }
                }
            }
        }
        Ok(None)
    }

    /// Looks at the start of a frame. Returns where it goes.
    #[inline]
    fn look<'m, W>(&mut self, reader: &mut Reader<'m, W>) -> Result<Result<Route, Reason>, Stop>
    where
        W: Walk<'m>,
    {
        let start = NetHeader::len_with(self.features);
        let end = start + usize::from(ETHERNET_LEN);
        self.scratch.found.start = start;
        self.scratch.found.end = 0;
        self.fill(reader, end)?;
        if self.scratch.found.end < end {
            return Ok(Err(Reason::Runt));
        }
        let port = &self.env.port;
        if !port.is_up() {
            return Ok(Err(Reason::LinkDown));
        }
        let header = self.scratch.bytes.first_chunk();
        let header = NetHeader::from_bytes(header.copied().unwrap_or_default());
        let plain = header.is_plain();
        let learns = port.learns();
        self.scratch.found.work = None;
        self.parse();
        if !plain || learns || self.is_tagged() {
            self.look_deeper(reader)?;
        }
        if !plain {
            let rest = reader.clone().skip(u64::MAX)?;
            if !self.check(&header, rest) {
                return Ok(Err(Reason::Malformed));
            }
        }
        let Some(headers) = &self.scratch.found.headers else {
            return Ok(Err(Reason::Runt));
        };
        if learns {
            port.flows.learn(flow::symmetric(headers), self.env.pair);
        }
        let route = match self.lookups.route(port, headers, self.second) {
            // What was begun is ended in the same way.
            Route::To(_) if *self.flooded != 0 => Route::Flood,
            route => route,
        };
        if let Route::To(slot) = route {
            self.steer(reader, slot)?;
        }
        Ok(Ok(route))
    }

    /// Checks the virtio header of a frame, of which `rest` bytes were not looked at, and
    /// notes what is to be done. Returns whether it can be.
    #[cold]
    fn check(&mut self, header: &NetHeader, rest: u64) -> bool {
        let Ok(offload) = Offload::from_header(header, self.features) else {
            return false;
        };
        let leading = self.scratch.leading();
        let len = u32::try_from(leading.len() as u64 + rest).unwrap_or(u32::MAX);
        let headers = self.scratch.found.headers.as_ref();
        let work = Work::new(offload, headers, leading, len);
        self.scratch.found.work = work;
        work.is_some()
    }

    /// Finds the receive queue of a frame for the port in `slot`.
    #[inline]
    fn steer<'m, W>(&mut self, reader: &mut Reader<'m, W>, slot: usize) -> Result<(), QueueError>
    where
        W: Walk<'m>,
    {
        let wants = match self.lookups.to(slot) {
            Some((_, steering)) => steering.wants_headers(),
            None => false,
        };
        self.scratch.found.steered = Steered::default();
        if wants {
            self.look_deeper(reader)?;
            if let Some((port, steering)) = self.lookups.to(slot) {
                let headers = self.scratch.found.headers.as_ref();
                self.scratch.found.steered = steering.steer(&port.flows, headers);
            }
        }
        Ok(())
    }

    /// Whether the frame has a VLAN tag.
    pub(super) fn is_tagged(&self) -> bool {
        let ethertype = self.scratch.found.headers.as_ref();
        ethertype.is_some_and(|headers| matches!(headers.ethertype, ETH_P_8021Q | ETH_P_8021AD))
    }

    fn parse(&mut self) {
        self.scratch.found.headers = Headers::parse(self.scratch.leading());
    }

    /// Reads on, and looks for all headers, if that was not done yet.
    pub(super) fn look_deeper<'m, W: Walk<'m>>(
        &mut self,
        reader: &mut Reader<'m, W>,
    ) -> Result<(), QueueError> {
        let found = &self.scratch.found;
        if found.end == found.start + usize::from(ETHERNET_LEN) {
            self.fill(reader, found.start + MAX_HEADERS)?;
            self.parse();
        }
        Ok(())
    }

    /// Reads into the scratch buffer up to its byte `to`, or as much as there is.
    #[inline]
    fn fill<'m, W>(&mut self, reader: &mut Reader<'m, W>, to: usize) -> Result<(), QueueError>
    where
        W: Walk<'m>,
    {
        let Scratch { bytes, found, .. } = &mut *self.scratch;
        if let Some(room) = bytes.get_mut(found.end..to) {
            found.end += reader.read(room)?;
        }
        Ok(())
    }
}
