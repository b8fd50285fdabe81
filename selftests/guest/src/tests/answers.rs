// SPDX-License-Identifier: GPL-2.0

//! What the bus answers by netlink, byte by byte.

use crate::{
    check, check_eq,
    device::{Device, Driver},
    harness::{Context, Test},
    netlink::{attribute, command, parse, Attributes, Bus, MGMTDEV},
    outcome::{Outcome, While},
};

pub const TESTS: &[Test] = &[
    Test::new("answers.have_no_byte_of_others", no_byte_of_others),
    Test::new("answers.have_no_byte_of_others_on_a_switch", on_a_switch).with("switches=1"),
];

/// What an attribute of the family is, by `include/uapi/linux/vdpa.h`.
enum Kind {
    /// So many bytes, all of which are the value.
    Bytes(usize),
    /// Up to the first NUL, and nothing behind that.
    Text,
}

fn kind(attribute: u16) -> Option<Kind> {
    Some(match attribute {
        0 => Kind::Bytes(0),
        1 | 2 | 4 | 18 => Kind::Text,
        // Of the status (11) that file says it is one byte; the bus, and its tool, make it two.
        8 | 9 | 11 | 12 | 13 => Kind::Bytes(2),
        5 | 6 | 7 | 15 | 17 => Kind::Bytes(4),
        10 => Kind::Bytes(6),
        3 | 14 | 16 | 19 | 20 => Kind::Bytes(8),
        _ => return None,
    })
}

/// Sees that an answer consists of attributes as they are defined, with zeros between them.
/// Returns how many there are.
fn look_at(answer: &[u8]) -> Outcome<usize> {
    let found = parse(answer);
    let mut same = Attributes::default();
    for &(attribute, value) in &found {
        match kind(attribute).when(format_args!("a definition of attribute {attribute}"))? {
            Kind::Bytes(wanted) => {
                check_eq!(value.len(), wanted, "length of attribute {attribute}");
            }
            Kind::Text => {
                let text = value.strip_suffix(&[0]);
                let text = text.when(format_args!("the NUL of attribute {attribute}"))?;
                check!(
                    text.iter().all(|byte| (0x20..0x7f).contains(byte)),
                    "attribute {attribute}, a string: {value:?}"
                );
            }
        }
        same = same.put(attribute, value);
    }
    // Zeros between them, and nothing that is no attribute.
    check_eq!(same.as_bytes(), answer, "the answer, put together again");
    Ok(found.len())
}

/// Looks at all that can be asked about a device, and its management device. Returns how many
/// attributes that were.
fn ask_all(name: &str, mgmtdev: &str, negotiated: bool) -> Outcome<usize> {
    let mut bus = Bus::new()?;
    let device = Attributes::named(name.as_bytes());
    let mut questions = vec![
        (
            command::MGMTDEV_GET,
            Attributes::default().string(attribute::MGMTDEV_DEV_NAME, mgmtdev),
        ),
        (command::DEV_GET, device.clone()),
        (command::DEV_CONFIG_GET, device.clone()),
    ];
    if negotiated {
        // Receive, transmit and control virtqueue.
        questions.extend((0_u32..3).map(|index| {
            let of = device.clone();
            let of = of.put(attribute::QUEUE_INDEX, &index.to_ne_bytes());
            (command::DEV_VSTATS_GET, of)
        }));
    }
    let mut all = 0;
    for (command, attributes) in questions {
        let answer = bus
            .command(command, &attributes)
            .when(format_args!("command {command}"))?;
        let count = look_at(&answer).when(format_args!("the answer to command {command}"))?;
        check!(count >= 4, "command {command}: {count} attributes");
        all += count;
        // What comes by chance does not come twice.
        let again = bus
            .command(command, &attributes)
            .when(format_args!("command {command} once more"))?;
        check_eq!(again, answer, "command {command} asked twice");
    }
    Ok(all)
}

fn look_over(context: &mut Context, mgmtdev: &str) -> Outcome {
    let mut all = 0;
    // Names of every length to a word's, so that there is padding of each.
    for name in ["d", "de", "dev", "devi", "devic"] {
        let device = Device::add_at(mgmtdev, name, |attributes| attributes)?;
        all += ask_all(name, mgmtdev, false).when("before negotiation")?;
        device.bind(Driver::Virtio)?;
        // Down, so that nothing is counted meanwhile.
        device.interface()?;
        all += ask_all(name, mgmtdev, true).when("after negotiation")?;
        device.delete()?;
    }
    context.note(format_args!("{all} attributes"));
    Ok(())
}

fn no_byte_of_others(context: &mut Context) -> Outcome {
    look_over(context, MGMTDEV)
}

fn on_a_switch(context: &mut Context) -> Outcome {
    look_over(context, "rvdpasim_switch0")
}
