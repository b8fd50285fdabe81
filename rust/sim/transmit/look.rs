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
    Stop, //
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

/// A frame at the front of the transmit queue.
pub(super) struct Frame<'m, 'a: 'm, Q: Queue<Area = Area> + 'm> {
    pub(super) head: Q::Head,
    /// What follows the leading bytes.
    pub(super) rest: Reader<'m, Q::Walk<'m, DeviceMemory<'a>>>,
    pub(super) look: Look,
}

/// What was found at the start of a frame.
pub(super) struct Look {
    /// Where its leading bytes are in the scratch buffer.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) headers: Headers,
    pub(super) work: Option<Work>,
    pub(super) route: Route,
    pub(super) steered: Steered,
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
                Ok(look) => {
                    return Ok(Some(Frame {
                        head,
                        rest: reader,
                        look,
                    }))
                }
                Err(reason) => {
                    ring.complete_fully(mem, head, 0)?;
                    self.frames += 1;
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

    /// Looks at the start of a frame.
    #[inline]
    fn look<'m, W>(&mut self, reader: &mut Reader<'m, W>) -> Result<Result<Look, Reason>, Stop>
    where
        W: Walk<'m>,
    {
        let start = NetHeader::len_with(self.features);
        let mut end = start + usize::from(ETHERNET_LEN);
        if self.fill(reader, 0, end)? < end {
            return Ok(Err(Reason::Runt));
        }
        let header = self
            .scratch
            .bytes
            .first_chunk()
            .copied()
            .unwrap_or_default();
        let header = NetHeader::from_bytes(header);
        let port = &self.env.port;
        if !port.is_up() {
            return Ok(Err(Reason::LinkDown));
        }
        let plain =
            header.flags & NetHeader::NEEDS_CSUM == 0 && header.gso_type == NetHeader::GSO_NONE;
        let offload = if plain {
            Offload::NONE
        } else {
            match Offload::from_header(&header, self.features) {
                Ok(offload) => offload,
                Err(_) => return Ok(Err(Reason::Malformed)),
            }
        };
        let learns = port.learns();
        let mut parsed = false;
        let mut headers = Headers::parse(self.leading(start, end));
        let tagged =
            headers.is_some_and(|headers| matches!(headers.ethertype, ETH_P_8021Q | ETH_P_8021AD));
        if learns || tagged || !offload.is_none() {
            end = self.fill(reader, end, start + MAX_HEADERS)?;
            headers = Headers::parse(self.leading(start, end));
            parsed = true;
        }
        let Some(mut headers) = headers else {
            return Ok(Err(Reason::Runt));
        };
        let work = if offload.is_none() {
            None
        } else {
            let rest = reader.clone().skip(u64::MAX)?;
            let len = u32::try_from((end - start) as u64 + rest).unwrap_or(u32::MAX);
            let leading = self.leading(start, end);
            match Work::new(offload, Some(&headers), leading, len) {
                Some(work) => Some(work),
                None => return Ok(Err(Reason::Malformed)),
            }
        };
        if learns {
            port.learn(flow::symmetric(&headers), self.env.pair);
        }
        let route = match self.lookups.route(port, &headers, self.second) {
            // What was begun is ended in the same way.
            Route::To(_) if *self.flooded != 0 => Route::Flood,
            route => route,
        };
        let mut steered = Steered::default();
        if let Route::To(slot) = route {
            let wants = self
                .lookups
                .to(slot)
                .is_some_and(|(_, steering)| steering.wants_headers());
            if wants {
                if !parsed {
                    end = self.fill(reader, end, start + MAX_HEADERS)?;
                    headers = Headers::parse(self.leading(start, end)).unwrap_or(headers);
                }
                if let Some((port, steering)) = self.lookups.to(slot) {
                    steered = steering.steer(port, Some(&headers));
                }
            }
        }
        Ok(Ok(Look {
            start,
            end,
            headers,
            work,
            route,
            steered,
        }))
    }

    /// Reads bytes `from` to `to` of the scratch buffer, or as many as there are. Returns
    /// where they end.
    #[inline]
    fn fill<'m, W>(
        &mut self,
        reader: &mut Reader<'m, W>,
        from: usize,
        to: usize,
    ) -> Result<usize, QueueError>
    where
        W: Walk<'m>,
    {
        match self.scratch.bytes.get_mut(from..to) {
            Some(room) => Ok(from + reader.read(room)?),
            None => Ok(from),
        }
    }

    /// The bytes that were looked at.
    #[inline]
    fn leading(&self, start: usize, end: usize) -> &[u8] {
        self.scratch.bytes.get(start..end).unwrap_or(&[])
    }

    /// Parses the headers of a frame that was looked at as an Ethernet frame only.
    pub(super) fn look_deeper<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        frame: &mut Frame<'m, 'a, Q>,
    ) -> Result<(), Stop> {
        frame.look.end = self.fill(
            &mut frame.rest,
            frame.look.end,
            frame.look.start + MAX_HEADERS,
        )?;
        if let Some(headers) = Headers::parse(self.leading(frame.look.start, frame.look.end)) {
            frame.look.headers = headers;
        }
        Ok(())
    }
}
