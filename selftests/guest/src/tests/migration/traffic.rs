// SPDX-License-Identifier: GPL-2.0

//! Moves with traffic in both directions.

use super::{
    each_kind,
    settings::{Settings, Spread},
    stream::Stream,
    Rings, Scene,
};
use crate::{
    arena::Kind,
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    vhost::Manner,
};

pub const TESTS: &[Test] = each_kind! {
    "with_traffic", once;
    "there_and_back", many;
};

/// How many chains before the index begins anew.
const BEFORE: u16 = 20;

/// Moves the driver while the peer goes on, with packets left in the rings.
fn change(stream: &mut Stream<'_>, manner: Manner, start: u16) -> Outcome {
    let state = stream.mover.net.leave()?;
    stream.mover.stands_where(&state, start)?;
    // For these there is nobody.
    stream.wait_for_peer(20)?;
    stream.mover.stands_where(&state, start)?;
    check_eq!(
        stream.mover.net.state()?.bases,
        state.bases,
        "bases of a suspended device"
    );
    stream.leave_packets(16)?;
    stream.mover.go_on(&state, manner)?;
    // Without a kick.
    stream.wait_for_sent()
}

fn once(context: &mut Context, rings: Rings) -> Outcome {
    let start = rings.before_start(BEFORE);
    let mut scene = Scene::new(context, rings, Settings::new(Spread::Hash), start)?;
    scene.has_settings().when("at the first device")?;
    // Packets for the ports' own tables are not counted.
    let (sent, lost) = scene.stream(|stream| {
        stream.run(150)?;
        change(stream, Manner::default(), start)?;
        stream.run(300)
    })?;
    context.note(format_args!("{lost} of {sent} packets were lost"));
    check!(
        lost >= 16,
        "{lost} packets were lost while nobody was there"
    );
    scene.has_settings().when("at the second device")?;
    scene.delete()
}

fn many(context: &mut Context, rings: Rings) -> Outcome {
    let start = rings.before_start(BEFORE);
    let mut scene = Scene::new(context, rings, Settings::new(Spread::Flow), start)?;
    let anonymous = scene.mover.net.plan.kind == Kind::Anonymous;
    let (sent, lost) = scene.stream(|stream| {
        for round in 0..8 {
            let manner = Manner {
                copied: anonymous && round % 2 == 1,
                new_control: round % 3 != 1,
            };
            stream.run(40 + round).when(format_args!("round {round}"))?;
            change(stream, manner, start).when(format_args!("move {round}, {manner:?}"))?;
        }
        stream.run(100)
    })?;
    context.note(format_args!("{lost} of {sent} packets were lost"));
    scene.has_settings()?;
    scene.delete()
}
