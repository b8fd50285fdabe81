// SPDX-License-Identifier: GPL-2.0

// When the driver sees what was used, and who notifies whom.
//
// Included once per format, with `Rig` for its rig and `F` for the format itself.

use rvdpa_virtio::{
    features::Features,
    memory::Access,
    mock::{
        Buffer,
        Form, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
};

#[test]
fn publishing_without_used_buffers_is_nothing() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 1);
    let _ = rig.head();
    rig.memory.start_log();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Nothing));
    assert_eq!(rig.memory.take_log(), []);
}

#[test]
fn completed_chains_are_not_seen_before_they_are_published() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 2);
    drain(&mut rig);
    assert_eq!(rig.driver.poll_used(), None);
    rig.queue.publish(&rig.memory).unwrap();
    assert!(rig.driver.poll_used().is_some());
    assert!(rig.driver.poll_used().is_some());
    assert_eq!(rig.driver.poll_used(), None);
}

#[test]
fn interrupts_follow_the_flag() {
    let mut rig = Rig::new(8, Features::NONE);
    offer(&mut rig, 3);
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
    rig.driver.disable_interrupts();
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
    assert!(rig.driver.enable_interrupts());
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
}

#[test]
fn kicks_follow_the_flag() {
    let mut rig = Rig::new(8, Features::NONE);
    rig.queue.begin(&rig.memory).unwrap();
    assert!(!rig.driver.needs_kick());
    offer(&mut rig, 1);
    assert!(rig.driver.needs_kick());
    rig.queue.suppress_kicks(&rig.memory).unwrap();
    offer(&mut rig, 1);
    assert!(!rig.driver.needs_kick());
    assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(true));
    drain(&mut rig);
    assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
    offer(&mut rig, 1);
    assert!(rig.driver.needs_kick());
}

#[test]
fn kicks_follow_the_available_event() {
    let mut rig = Rig::starting_at(8, ALL, F::near_wrap(8));
    rig.queue.begin(&rig.memory).unwrap();
    for _ in 0..5 {
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
        offer(&mut rig, 1);
        assert!(rig.driver.needs_kick());
        // Until the device asks again, no further kick is needed.
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        offer(&mut rig, 1);
        assert!(!rig.driver.needs_kick());
        assert_eq!(drain(&mut rig), 2);
        rig.queue.publish(&rig.memory).unwrap();
        while rig.driver.poll_used().is_some() {}
    }
}

#[test]
fn a_chain_that_is_left_is_found_again() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 2);
    let first = rig.head();
    let again = rig.head();
    assert_eq!(first, again);
    let before = F::standing(&rig.queue);
    rig.queue.complete(&rig.memory, again, 0).unwrap();
    assert_ne!(first, rig.head());
    rig.queue.publish(&rig.memory).unwrap();
    assert_ne!(F::standing(&rig.queue), before);
}

#[test]
fn rewinding_makes_completed_chains_available_again() {
    let mut rig = Rig::starting_at(8, ALL, F::near_wrap(8));
    offer(&mut rig, 4);
    rig.complete();
    let mark = rig.queue.mark();
    let second = rig.head();
    rig.complete();
    rig.complete();
    rig.queue.rewind(mark);
    assert_eq!(rig.head(), second);
    rig.queue.publish(&rig.memory).unwrap();
    assert!(rig.driver.poll_used().is_some());
    assert_eq!(rig.driver.poll_used(), None);
    // A mark from before what was published is of no use.
    rig.complete();
    rig.queue.publish(&rig.memory).unwrap();
    rig.complete();
    rig.queue.rewind(mark);
    assert_eq!(drain(&mut rig), 1);
}

#[test]
fn several_chains_can_be_held_at_once() {
    use rvdpa_virtio::mock::DriverMemory;
    let mut rig = Rig::new(8, ALL);
    for at in 0..2 {
        rig.offer(&[Buffer::writable(TARGET + 100 * at, 20)], Form::Direct);
    }
    rig.queue.begin(&rig.memory).unwrap();
    let (queue, memory) = (&rig.queue, &rig.memory);
    // As for a frame that takes two buffers: the header is written when both are filled.
    let first = queue.peek(memory).unwrap().unwrap();
    let mut writer = queue.writer(memory, &first).unwrap();
    let mut header = writer.clone();
    writer.skip(2).unwrap();
    writer.write(&[1; 18]).unwrap();
    queue.complete(memory, first, writer.written()).unwrap();
    let second = queue.peek(memory).unwrap().unwrap();
    let mut writer = queue.writer(memory, &second).unwrap();
    writer.write(&[2; 20]).unwrap();
    queue.complete(memory, second, writer.written()).unwrap();
    header.write(&2_u16.to_le_bytes()).unwrap();
    assert_eq!(queue.publish(memory), Ok(Interrupt::Raise));
    assert_eq!(rig.memory.load_u16(TARGET), 2);
    assert_eq!(rig.driver.poll_used().unwrap().len, 20);
    assert_eq!(rig.driver.poll_used().unwrap().len, 20);
}

#[test]
fn interrupts_follow_the_event() {
    let mut rig = Rig::starting_at(8, ALL, F::near_wrap(8));
    for _ in 0..5 {
        assert!(!rig.driver.enable_interrupts());
        offer(&mut rig, 3);
        rig.complete();
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
        // Until the driver asks again, no further one comes.
        rig.complete();
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
        rig.complete();
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
        while rig.driver.poll_used().is_some() {}
        rig.driver.disable_interrupts();
        offer(&mut rig, 1);
        rig.complete();
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
        assert!(rig.driver.enable_interrupts());
        assert!(rig.driver.poll_used().is_some());
    }
}

#[test]
fn an_interrupt_is_decided_about_when_the_driver_area_is_back() {
    for features in [Features::NONE, ALL] {
        let mut rig = Rig::new(8, features);
        offer(&mut rig, 2);
        rig.complete();
        // It goes away when the driver can see what was used.
        rig.memory.set_hook(|memory, seen| {
            if seen.access == Access::Write && seen.len == 2 {
                memory.set_resident(DRIVER, false);
            }
        });
        assert!(rig.queue.publish(&rig.memory).is_err());
        rig.memory.clear_hook();
        assert!(rig.driver.poll_used().is_some());
        rig.memory.set_resident(DRIVER, true);
        rig.queue.begin(&rig.memory).unwrap();
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Nothing));
    }
}

#[test]
fn kicks_are_wanted_for_more_when_chains_are_left_where_they_are() {
    for features in [Features::NONE, ALL] {
        let mut rig = Rig::new(8, features);
        offer(&mut rig, 2);
        let _ = rig.head();
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(true));
        rig.driver.needs_kick();
        offer(&mut rig, 1);
        assert!(rig.driver.needs_kick());
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        offer(&mut rig, 1);
        assert!(!rig.driver.needs_kick());
    }
}

#[test]
fn a_queue_goes_on_elsewhere_where_it_was() {
    for features in [Features::NONE, ALL] {
        let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
        for _ in 0..20 {
            offer(&mut rig, 5);
            rig.complete();
            rig.complete();
            rig.queue.publish(&rig.memory).unwrap();
            let standing = F::standing(&rig.queue);
            rig.queue = F::queue(layout(8), with_format::<F>(features), standing);
            assert_eq!(F::standing(&rig.queue), standing);
            assert_eq!(drain(&mut rig), 3);
            rig.queue.publish(&rig.memory).unwrap();
            for _ in 0..5 {
                assert!(rig.driver.poll_used().is_some());
            }
            assert_eq!(rig.driver.poll_used(), None);
        }
    }
}
