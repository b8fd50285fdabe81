// SPDX-License-Identifier: GPL-2.0

//! Delivering a frame to a receive queue: as it is, if its driver takes what the sender
//! left to be done, else with the checksum filled in, or in segments.

use super::{
    format::Format,
    memory::DeviceMemory,
    merge::merge,
    packet::{
        First,
        Full,
        Packet, //
    },
};
use crate::{
    net::{
        checksum::{
            PartialChecksum,
            Sum, //
        },
        flow::Hash,
        frame::{
            Headers,
            MAX_HEADERS, //
        },
        segment::{
            Kind,
            Request,
            Segmenter, //
        },
    },
    vdpa::iommu::Area,
    virtio::{
        chain::{
            Reader,
            Walk, //
        },
        fault::{
            QueueError,
            TransferError, //
        },
        features::Features,
        memory::CopyTo,
        net::{
            offload::{
                Offload,
                SegmentationKind, //
            },
            rss,
            NetHeader, //
        },
        queue::Queue,
        short::ShortChains,
    },
};

/// How much is summed up at a time, in bytes.
const CHUNK: usize = 256;

/// What a sender left to be done, checked against its frame.
#[derive(Clone, Copy)]
pub(super) struct Work {
    offload: Offload,
    checksum: PartialChecksum,
    /// The segments to make, if there are several.
    segments: Option<Request>,
    /// Length of all headers, in bytes.
    header_len: u16,
    v6: bool,
    /// Length of the frame, in bytes.
    len: u32,
}

impl Work {
    /// Checks what the header of a frame says against the frame, of which `leading` is the
    /// start, with `headers`. None if it is not so.
    pub(super) fn new(
        offload: Offload,
        headers: Option<&Headers>,
        leading: &[u8],
        len: u32,
    ) -> Option<Self> {
        let checksum = offload.checksum?;
        let checksum = PartialChecksum::new(checksum.start, checksum.offset, len).ok()?;
        let mut work = Self {
            offload,
            checksum,
            segments: None,
            header_len: 0,
            v6: false,
            len,
        };
        if let Some(segmentation) = offload.segmentation {
            let request = Request {
                kind: match segmentation.kind {
                    SegmentationKind::TcpV4 => Kind::TcpV4,
                    SegmentationKind::TcpV6 => Kind::TcpV6,
                    SegmentationKind::UdpL4 => Kind::Udp,
                },
                size: segmentation.size,
                checksum,
            };
            let segmenter = Segmenter::new(&request, headers?, leading, len).ok()?;
            work.header_len = segmenter.header_len();
            work.v6 = segmenter.is_v6();
            if segmenter.count() > 1 {
                work.segments = Some(request);
            } else {
                work.offload = offload.without_segmentation();
            }
        } else if !headers.is_some_and(|headers| checksum.is_transport(headers)) {
            // To be completed, whoever gets it.
            work.offload = Offload::NONE;
        }
        Some(work)
    }

    /// Whether the frame is one of several segments.
    pub(super) fn is_segmented(&self) -> bool {
        self.segments.is_some()
    }

    /// The length of the frame, in bytes.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Whether a driver with these offloads takes the frame as it is.
    fn is_accepted_by(&self, offloads: Features) -> bool {
        !self.offload.is_none() && self.offload.accepted_by(offloads, self.v6)
    }
}

/// A frame to be delivered.
pub(super) struct Source<'f, 'r, R> {
    /// Its leading bytes, which were looked at. What was looked at is what is delivered,
    /// whatever the driver has put in its place meanwhile.
    pub(super) leading: &'f [u8],
    /// Its other bytes.
    pub(super) rest: &'r mut R,
    pub(super) headers: Option<&'f Headers>,
    pub(super) work: Option<&'f Work>,
    /// The hash to be reported.
    pub(super) hash: Option<Hash>,
}

/// What was delivered.
#[derive(Clone, Copy, Default)]
pub(super) struct Delivered {
    /// Frames: several if segments were made.
    pub(super) frames: u32,
    /// Their bytes, without virtio headers.
    pub(super) bytes: u64,
    /// Buffers that were filled.
    pub(super) buffers: u32,
    /// Checksums that are left to the receiver.
    pub(super) checksums: u32,
    /// Whether it is a frame that the receiver has to segment.
    pub(super) large: bool,
    /// Why there was no more, if there was not.
    pub(super) full: Option<Full>,
}

impl Delivered {
    /// Nothing.
    pub(super) fn nothing(full: Full) -> Self {
        Self {
            full: Some(full),
            ..Self::default()
        }
    }
}

/// Room for what delivering a frame takes.
pub(super) struct Room<'b> {
    /// For headers that are put in the place of others.
    pub(super) built: &'b mut [u8; MAX_HEADERS],
    /// For the buffers that are next, if many are to be taken at a time.
    pub(super) chains: Option<&'b mut ShortChains>,
}

/// A virtio header, with the hash if there is to be one.
struct Header {
    bytes: [u8; NetHeader::LEN + rss::HASH_FIELDS_LEN],
    len: usize,
}

impl Header {
    fn new(format: &Format, offload: &Offload, header_len: u16, hash: Option<Hash>) -> Self {
        let mut bytes = [0; NetHeader::LEN + rss::HASH_FIELDS_LEN];
        if let Some(plain) = bytes.first_chunk_mut() {
            *plain = offload.header(header_len).to_bytes();
        }
        if format.header_len > NetHeader::LEN {
            let (value, report) = hash.map_or((0, 0), |hash| (hash.value, hash.report));
            if let Some(fields) = bytes.last_chunk_mut() {
                *fields = rss::hash_fields(value, report);
            }
        }
        Self {
            bytes,
            len: format.header_len,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// The receive queue that a frame is delivered to.
pub(super) struct Target<'m, 'a, Q> {
    pub(super) ring: &'m Q,
    pub(super) mem: &'m DeviceMemory<'a>,
    pub(super) format: Format,
}

impl<'m, 'a: 'm, Q: Queue<Area = Area>> Target<'m, 'a, Q> {
    /// Delivers a frame. After an error, a part of it may be there: the queue has to be
    /// rewound to where it was.
    #[inline]
    pub(super) fn deliver<'s, W>(
        &self,
        source: Source<'_, '_, Reader<'s, W>>,
        room: Room<'_>,
    ) -> Result<Delivered, TransferError>
    where
        W: Walk<'s>,
        W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    {
        let mut delivered = Delivered::default();
        let Room { built, chains } = room;
        delivered.full = match source.work {
            None => self.whole(source, &Offload::NONE, 0, chains, &mut delivered),
            Some(work) if work.is_accepted_by(self.format.offloads) => {
                let (offload, header_len) = (&work.offload, work.header_len);
                self.whole(source, offload, header_len, chains, &mut delivered)
            }
            Some(work) => match &work.segments {
                None => self.completed(source, work, Room { built, chains }, &mut delivered),
                Some(request) => self.segments(source, work, request, built, &mut delivered),
            },
        }?;
        Ok(delivered)
    }

    /// Delivers a frame as it is.
    #[inline(always)]
    fn whole<'s, W>(
        &self,
        source: Source<'_, '_, Reader<'s, W>>,
        offload: &Offload,
        header_len: u16,
        chains: Option<&mut ShortChains>,
        delivered: &mut Delivered,
    ) -> Result<Option<Full>, TransferError>
    where
        W: Walk<'s>,
        W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    {
        let header = Header::new(&self.format, offload, header_len, source.hash);
        let (checksums, large) = (offload.checksum.is_some(), offload.segmentation.is_some());
        if let (true, Some(chains)) = (self.format.mergeable, chains) {
            let (header, rest) = (header.bytes(), source.rest.clone());
            let merged = merge(self.ring, self.mem, header, source.leading, rest, chains);
            if let Some(merged) = merged.map_err(TransferError::Source)? {
                self.count(merged.buffers, merged.bytes, delivered);
                delivered.checksums = u32::from(checksums);
                delivered.large = large;
                return Ok(None);
            }
        }
        let mut first = None;
        let Some(mut packet) = self.open(&header, &mut first)? else {
            return Ok(Some(Full::NoBuffer));
        };
        let fits = packet.write(source.leading).map_err(to_receiver)?
            && packet.copy(source.rest, u64::MAX)?;
        if fits {
            delivered.checksums = u32::from(checksums);
            delivered.large = large;
        }
        self.end(packet, fits, delivered)
    }

    /// Delivers a frame with its checksum filled in.
    #[cold]
    fn completed<'s, W>(
        &self,
        source: Source<'_, '_, Reader<'s, W>>,
        work: &Work,
        room: Room<'_>,
        delivered: &mut Delivered,
    ) -> Result<Option<Full>, TransferError>
    where
        W: Walk<'s>,
        W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    {
        let Some(leading) = room.built.get_mut(..source.leading.len()) else {
            return Ok(Some(Full::TooLarge));
        };
        leading.copy_from_slice(source.leading);
        let rest = sum(&mut source.rest.clone(), u64::MAX).map_err(TransferError::Source)?;
        // There are as many leading bytes as it needs.
        let _ = work.checksum.complete(leading, rest);
        let source = Source { leading, ..source };
        self.whole(source, &Offload::NONE, 0, room.chains, delivered)
    }

    /// Delivers the segments of a frame.
    #[cold]
    fn segments<'s, W>(
        &self,
        source: Source<'_, '_, Reader<'s, W>>,
        work: &Work,
        request: &Request,
        scratch: &mut [u8; MAX_HEADERS],
        delivered: &mut Delivered,
    ) -> Result<Option<Full>, TransferError>
    where
        W: Walk<'s>,
        W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    {
        // It was found right before; but what is not cannot be helped here.
        let segmenter = match source.headers {
            Some(headers) => Segmenter::new(request, headers, source.leading, work.len),
            None => return Ok(Some(Full::TooLarge)),
        };
        let Ok(segmenter) = segmenter else {
            return Ok(Some(Full::TooLarge));
        };
        let partial = work.offload.without_segmentation();
        let takes_partial = partial.accepted_by(self.format.offloads, work.v6);
        let offload = if takes_partial {
            partial
        } else {
            Offload::NONE
        };
        let header = Header::new(&self.format, &offload, 0, source.hash);
        for index in 0..segmenter.count() {
            let Some(segment) = segmenter.write(index, scratch) else {
                break;
            };
            let Some(headers) = scratch.get_mut(..segmenter.header_len().into()) else {
                break;
            };
            // The first bytes of the payload are among those that were looked at.
            let start = source.leading.len().min(segment.offset as usize);
            let near = source.leading.get(start..).unwrap_or(&[]);
            let near = near.get(..segment.len as usize).unwrap_or(near);
            let far = (segment.len as usize - near.len()) as u64;
            if !takes_partial {
                let mut payload = Sum::new();
                payload.add(near);
                payload.append(sum(&mut source.rest.clone(), far).map_err(TransferError::Source)?);
                let _ = work.checksum.complete(headers, payload);
            }
            let mut first = None;
            let Some(mut packet) = self.open(&header, &mut first)? else {
                return Ok(Some(Full::NoBuffer));
            };
            let fits = packet.write(headers).map_err(to_receiver)?
                && packet.write(near).map_err(to_receiver)?
                && packet.copy(source.rest, far)?;
            let full = self.end(packet, fits, delivered)?;
            if full.is_some() {
                return Ok(full);
            }
            delivered.checksums += u32::from(takes_partial);
        }
        Ok(None)
    }

    /// Takes a buffer and writes the virtio header to it.
    #[inline(always)]
    fn open<'f>(
        &self,
        header: &Header,
        first: &'f mut First<'m, 'a, Q>,
    ) -> Result<Option<Packet<'m, 'a, 'f, Q>>, TransferError> {
        let packet = Packet::open(self.ring, self.mem, &self.format, first).map_err(to_receiver)?;
        let Some(mut packet) = packet else {
            return Ok(None);
        };
        // A buffer too small for this is too small for what follows.
        packet.write(header.bytes()).map_err(to_receiver)?;
        Ok(Some(packet))
    }

    #[inline(always)]
    fn end(
        &self,
        packet: Packet<'m, 'a, '_, Q>,
        fits: bool,
        delivered: &mut Delivered,
    ) -> Result<Option<Full>, TransferError> {
        if !fits {
            return Ok(Some(packet.abandon()));
        }
        let (buffers, bytes) = packet.close().map_err(to_receiver)?;
        self.count(buffers, bytes, delivered);
        Ok(None)
    }

    /// Counts a frame that took so many buffers, and bytes with its virtio header.
    #[inline(always)]
    fn count(&self, buffers: u16, bytes: u64, delivered: &mut Delivered) {
        delivered.frames += 1;
        delivered.buffers += u32::from(buffers);
        delivered.bytes += bytes.saturating_sub(self.format.header_len as u64);
    }
}

fn to_receiver(error: QueueError) -> TransferError {
    TransferError::Destination(error)
}

/// The sum of the next `len` bytes, or of all there are.
fn sum<'s, W: Walk<'s>>(reader: &mut Reader<'s, W>, len: u64) -> Result<Sum, QueueError> {
    let mut sum = Sum::new();
    let mut chunk = [0; CHUNK];
    let mut left = len;
    while left > 0 {
        let want = left.min(CHUNK as u64) as usize;
        let Some(room) = chunk.get_mut(..want) else {
            break;
        };
        let got = reader.read(room)?;
        sum.add(room.get(..got).unwrap_or(&[]));
        left -= got as u64;
        if got < want {
            break;
        }
    }
    Ok(sum)
}
