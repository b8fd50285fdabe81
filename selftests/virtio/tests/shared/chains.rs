// SPDX-License-Identifier: GPL-2.0

// Chains of every legal shape come through as they should (2.7.4, 2.7.5, 2.8.5 to 2.8.7).
//
// Included once per format, with `Rig` for its rig and `F` for the format itself.

use rvdpa_virtio::{
    fault::Fault,
    features::Features,
    memory::Access,
    mock::{
        Buffer,
        DriverMemory,
        Form,
        Used, //
    },
    queue::Queue,
};

/// Takes data from `buffers`.
fn gather(memory: &impl DriverMemory, buffers: &[Buffer]) -> Vec<u8> {
    let mut all = Vec::new();
    for buffer in buffers {
        let mut bytes = vec![0; buffer.len as usize];
        memory.read(buffer.iova, &mut bytes);
        all.extend(bytes);
    }
    all
}

const SHAPES: &[&[u32]] = &[
    &[1],
    &[12, 60],
    &[72],
    &[0],
    &[0, 0, 5],
    &[5, 0, 0],
    &[3, 0, 9, 0, 1500],
    &[1, 1, 1, 1, 1, 1, 1, 1],
    &[65536, 1, 65535],
];

const FORMS: &[Form] = &[
    Form::Direct,
    Form::Indirect { table: TABLES },
    // A table need not be aligned.
    Form::Indirect { table: TABLES + 5 },
];

#[test]
fn every_shape_is_read_as_it_was_written() {
    for shape in SHAPES {
        for &form in FORMS {
            let mut rig = Rig::new(8, ALL);
            let chain = buffers(SOURCE, shape, false);
            let len: u32 = shape.iter().sum();
            let data = pattern(len as usize, 1);
            fill(&rig.memory, &chain, &data);
            rig.offer(&chain, form);
            assert_eq!(rig.read_all().unwrap(), data, "{shape:?} {form:?}");
        }
    }
}

#[test]
fn every_shape_is_filled_to_its_end_and_not_beyond() {
    for shape in SHAPES {
        for &form in FORMS {
            let mut rig = Rig::new(8, ALL);
            let chain = buffers(TARGET, shape, true);
            let len: u32 = shape.iter().sum();
            let data = pattern(len as usize + 10, 2);
            let head = rig.offer(&chain, form);
            assert_eq!(rig.write_all(&data).unwrap(), len);
            rig.queue.publish(&rig.memory).unwrap();
            assert_eq!(gather(&rig.memory, &chain), data[..len as usize]);
            // The gap behind the first buffer is untouched.
            let mut gap = [1; 3];
            rig.memory.read(TARGET + u64::from(shape[0]), &mut gap);
            assert_eq!(gap, [0; 3]);
            assert_eq!(rig.driver.poll_used(), Some(Used { head, len }));
        }
    }
}

#[test]
fn a_chain_may_be_as_long_as_the_queue() {
    for form in [Form::Direct, Form::Indirect { table: TABLES }] {
        let mut rig = Rig::new(16, ALL);
        let chain = buffers(SOURCE, &[2; 16], false);
        fill(&rig.memory, &chain, &pattern(32, 5));
        rig.offer(&chain, form);
        assert_eq!(rig.read_all().unwrap(), pattern(32, 5));
    }
}

#[test]
fn a_table_may_be_longer_than_a_small_queue() {
    // As long as the queue, or 64: a driver has no fewer fragments when its rings are small.
    for (size, limit) in [(1, 64), (2, 64), (16, 64), (64, 64), (128, 128)] {
        let form = Form::Indirect { table: TABLES };
        let mut rig = Rig::new(size, ALL);
        for len in [19, limit] {
            let lens = vec![2; usize::from(len)];
            let chain = buffers(SOURCE, &lens, false);
            let data = pattern(2 * lens.len(), 6);
            fill(&rig.memory, &chain, &data);
            rig.offer(&chain, form);
            assert_eq!(rig.read_all().unwrap(), data);
            rig.complete();
            rig.queue.publish(&rig.memory).unwrap();
            assert!(rig.driver.poll_used().is_some());
        }
        let lens = vec![2; usize::from(limit) + 1];
        rig.offer(&buffers(SOURCE, &lens, false), form);
        assert!(matches!(
            fault(rig.read_all()),
            Fault::TooManyDescriptors { size, .. } if size == limit
        ));
    }
}

#[test]
fn a_request_is_read_and_then_answered() {
    for &form in F::FORMS {
        let mut rig = Rig::new(8, ALL);
        let readable = buffers(SOURCE, &[2, 0, 6], false);
        let writable = buffers(TARGET, &[0, 1, 4], true);
        fill(&rig.memory, &readable, b"abcdefgh");
        let head = rig.offer(&[&readable[..], &writable[..]].concat(), form);

        let chain = rig.head();
        let mut request = rig.queue.request(&rig.memory, &chain).unwrap();
        let mut header = [0; 2];
        assert_eq!(request.read(&mut header), Ok(2));
        assert_eq!(&header, b"ab");
        assert_eq!(request.is_done(), Ok(false));
        let mut rest = [0; 20];
        assert_eq!(request.read(&mut rest), Ok(6));
        assert_eq!(&rest[..6], b"cdefgh");
        assert_eq!(request.is_done(), Ok(true));
        assert_eq!(request.read(&mut rest), Ok(0));
        let mut answer = request.into_writer().unwrap();
        assert_eq!(answer.is_full(), Ok(false));
        assert_eq!(answer.write(b"123456"), Ok(5));
        assert_eq!(answer.is_full(), Ok(true));
        let written = answer.written();
        rig.queue.complete(&rig.memory, chain, written).unwrap();
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(gather(&rig.memory, &writable), b"12345");
        assert_eq!(rig.driver.poll_used(), Some(Used { head, len: 5 }));
    }
}

#[test]
fn a_request_that_was_not_read_to_its_end_can_be_answered() {
    let mut rig = Rig::new(8, ALL);
    let chain = [
        Buffer::readable(SOURCE, 10),
        Buffer::readable(SOURCE + 10, 10),
        Buffer::writable(TARGET, 1),
    ];
    rig.offer(&chain, Form::Direct);
    let head = rig.head();
    let mut request = rig.queue.request(&rig.memory, &head).unwrap();
    assert_eq!(request.read(&mut [0; 3]), Ok(3));
    let mut answer = request.into_writer().unwrap();
    assert_eq!(answer.write(&[7]), Ok(1));
    let mut byte = [0];
    rig.memory.read(TARGET, &mut byte);
    assert_eq!(byte, [7]);
}

#[test]
fn a_request_without_a_writable_part_has_no_room_for_an_answer() {
    let mut rig = Rig::new(8, ALL);
    rig.offer(&[Buffer::readable(SOURCE, 10)], Form::Direct);
    let head = rig.head();
    let request = rig.queue.request(&rig.memory, &head).unwrap();
    let mut answer = request.into_writer().unwrap();
    assert_eq!(answer.is_full(), Ok(true));
    assert_eq!(answer.write(&[7]), Ok(0));
    let reader = rig.queue.reader(&rig.memory, &head).unwrap();
    assert_eq!(reader.into_writer().unwrap().write(&[7]), Ok(0));
}

#[test]
fn a_request_with_only_a_writable_part_has_nothing_to_read() {
    let mut rig = Rig::new(8, ALL);
    rig.offer(&[Buffer::writable(TARGET, 2)], Form::Direct);
    let head = rig.head();
    let mut request = rig.queue.request(&rig.memory, &head).unwrap();
    assert_eq!(request.is_done(), Ok(true));
    assert_eq!(request.into_writer().unwrap().write(&[7; 4]), Ok(2));
}

#[test]
fn skipped_bytes_are_left_out() {
    let mut rig = Rig::new(8, ALL);
    let chain = buffers(SOURCE, &[3, 0, 4, 5], false);
    fill(&rig.memory, &chain, &pattern(12, 6));
    rig.offer(&chain, Form::Direct);
    let head = rig.head();
    for skip in 0..=12 {
        let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
        assert_eq!(reader.skip(skip), Ok(skip));
        let mut rest = vec![0; 12 - skip as usize];
        assert_eq!(reader.read(&mut rest), Ok(rest.len()));
        assert_eq!(rest, pattern(12, 6)[skip as usize..]);
        assert_eq!(reader.skip(1), Ok(0));
    }
}

#[test]
fn a_header_can_be_written_last_through_a_clone() {
    for shape in [&[100][..], &[12, 88], &[5, 0, 3, 92]] {
        let mut rig = Rig::new(8, ALL);
        let chain = buffers(TARGET, shape, true);
        rig.offer(&chain, Form::Direct);
        let head = rig.head();
        let mut writer = rig.queue.writer(&rig.memory, &head).unwrap();
        let mut header = writer.clone();
        assert_eq!(writer.skip(12), Ok(12));
        assert_eq!(writer.write(&pattern(80, 7)), Ok(80));
        assert_eq!(writer.written(), 92);
        assert_eq!(header.write(&[0xaa; 12]), Ok(12));
        let all = gather(&rig.memory, &chain);
        assert_eq!(all[..12], [0xaa; 12]);
        assert_eq!(all[12..92], pattern(80, 7));
        assert_eq!(writer.skip(100), Ok(8));
        assert_eq!(writer.written(), 100);
    }
}

#[test]
fn a_clone_of_a_reader_goes_on_by_itself() {
    let mut rig = Rig::new(8, ALL);
    let chain = buffers(SOURCE, &[3, 4, 5], false);
    fill(&rig.memory, &chain, &pattern(12, 8));
    rig.offer(&chain, Form::Indirect { table: TABLES });
    let head = rig.head();
    let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
    reader.skip(2).unwrap();
    let mut bytes = [0; 10];
    assert_eq!(reader.clone().read(&mut bytes), Ok(10));
    assert_eq!(bytes, pattern(12, 8)[2..]);
    bytes = [0; 10];
    assert_eq!(reader.read(&mut bytes), Ok(10));
    assert_eq!(bytes, pattern(12, 8)[2..]);
}

#[test]
fn a_copy_ends_with_the_source_the_destination_or_the_limit() {
    let shapes: &[&[u32]] = &[&[64], &[12, 52], &[1, 0, 30, 33], &[32, 32]];
    for source in shapes {
        for target in shapes {
            for limit in [0, 1, 31, 63, 64, 65, u64::MAX] {
                let mut transmit = Rig::new(8, ALL);
                let mut receive = Rig::new(8, ALL);
                let from = buffers(SOURCE, source, false);
                let to = buffers(TARGET, target, true);
                fill(&transmit.memory, &from, &pattern(64, 9));
                transmit.offer(&from, Form::Direct);
                receive.offer(&to, Form::Indirect { table: TABLES });
                let head = transmit.head();
                let mut reader = transmit.queue.reader(&transmit.memory, &head).unwrap();
                let head = receive.head();
                let mut writer = receive.queue.writer(&receive.memory, &head).unwrap();
                let copied = reader.copy_to(&mut writer, limit).unwrap();
                assert_eq!(copied, limit.min(64));
                assert_eq!(u64::from(writer.written()), copied);
                assert_eq!(reader.is_done(), Ok(copied == 64));
                let copied = copied as usize;
                assert_eq!(
                    gather(&receive.memory, &to)[..copied],
                    pattern(64, 9)[..copied]
                );
            }
        }
    }
}

#[test]
fn a_copy_into_too_little_room_is_seen_by_the_source_not_being_done() {
    let mut transmit = Rig::new(8, ALL);
    let mut receive = Rig::new(8, ALL);
    transmit.offer(&[Buffer::readable(SOURCE, 100)], Form::Direct);
    receive.offer(&[Buffer::writable(TARGET, 60)], Form::Direct);
    let head = transmit.head();
    let mut reader = transmit.queue.reader(&transmit.memory, &head).unwrap();
    let head = receive.head();
    let mut writer = receive.queue.writer(&receive.memory, &head).unwrap();
    assert_eq!(reader.copy_to(&mut writer, u64::MAX), Ok(60));
    assert_eq!(reader.is_done(), Ok(false));
    assert_eq!(writer.is_full(), Ok(true));
}

#[test]
fn buffers_may_cross_mappings() {
    let mut rig = Rig::new(8, ALL);
    for at in 0..5 {
        rig.memory.map(0x1000 + 100 * at, 100, Access::ReadWrite);
    }
    rig.memory.write(0x1000, &pattern(500, 10));
    rig.offer(&[Buffer::readable(0x1000 + 50, 400)], Form::Direct);
    assert_eq!(rig.read_all().unwrap(), pattern(500, 10)[50..450]);
    rig.complete();

    rig.offer(&[Buffer::writable(0x1000 + 99, 302)], Form::Direct);
    assert_eq!(rig.write_all(&pattern(400, 11)), Ok(302));
    let mut bytes = [0; 302];
    rig.memory.read(0x1000 + 99, &mut bytes);
    assert_eq!(bytes, pattern(400, 11)[..302]);
}

#[test]
fn tables_may_cross_mappings_even_within_a_descriptor() {
    for boundary in 1..48 {
        let mut rig = Rig::new(8, ALL);
        let table = 0x9000;
        rig.memory.map(table, boundary, Access::Read);
        rig.memory
            .map(table + boundary as u64, 48 - boundary, Access::Read);
        let chain = buffers(SOURCE, &[5, 6, 7], false);
        fill(&rig.memory, &chain, &pattern(18, 12));
        rig.offer(&chain, Form::Indirect { table });
        assert_eq!(rig.read_all().unwrap(), pattern(18, 12));
    }
}

#[test]
fn a_buffer_may_end_at_the_end_of_the_address_space() {
    let mut rig = Rig::new(8, Features::NONE);
    let last = u64::MAX - 99;
    rig.memory.map(last, 100, Access::ReadWrite);
    rig.memory.write(last, &pattern(100, 13));
    rig.offer(&[Buffer::readable(last, 100)], Form::Direct);
    assert_eq!(rig.read_all().unwrap(), pattern(100, 13));
    rig.complete();
    rig.offer(
        &[Buffer::readable(u64::MAX, 0), Buffer::readable(last, 1)],
        Form::Direct,
    );
    assert_eq!(rig.read_all().unwrap(), pattern(1, 13));
}
