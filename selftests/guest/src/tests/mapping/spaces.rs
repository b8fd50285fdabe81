// SPDX-License-Identifier: GPL-2.0

//! Address spaces: how many there are, and that each is one of its own.

use super::MANY;
use crate::{
    arena::View,
    check, check_eq,
    harness::{Context, Test},
    ioctl::{self, Permission},
    module,
    outcome::{Outcome, While},
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{plan, ring_device, FEW},
    },
    vhost::{Client, Format, Net, Plan, TX},
};
use nix::errno::Errno;
use vhost::vdpa::VhostVdpa;

pub const TESTS: &[Test] = &[
    Test::new("mapping.spaces.as_many_as_the_parameter_says", told).without_module(),
    Test::new("mapping.spaces.numbers_that_cannot_be", refused).without_module(),
    Test::new("mapping.spaces.the_only_one", only).with("address_spaces=1"),
    Test::new("mapping.spaces.sixty_four", many)
        .with("address_spaces=64")
        .seconds(60),
    Test::new("mapping.spaces.sixty_four.set_map", many)
        .with("address_spaces=64 batch_mapping=1")
        .seconds(60),
    Test::new("mapping.spaces.sixty_four.va", many)
        .with("address_spaces=64 use_va=1")
        .seconds(60),
    Test::new("mapping.spaces.sixty_four.set_map.va", many)
        .with("address_spaces=64 batch_mapping=1 use_va=1")
        .seconds(60),
    Test::new("mapping.spaces.of_a_device_that_runs", running),
];

fn told(context: &mut Context) -> Outcome {
    for (parameters, groups, spaces) in [
        ("", 2, 2),
        ("address_spaces=1", 2, 1),
        ("address_spaces=64", 2, 64),
        ("address_spaces=3 desc_group=1", 3, 3),
        ("desc_group=1", 3, 2),
        ("batch_mapping=1", 2, 2),
    ] {
        context.step(format_args!("'{parameters}'"));
        module::load(parameters)?;
        let (device, path) = ring_device("spaces", Format::Split)?;
        let client = Client::open(&path)?;
        let got = (
            client.kernel().get_group_num()?,
            client.kernel().get_as_num()?,
        );
        check_eq!(
            got,
            (groups, spaces),
            "groups and spaces with '{parameters}'"
        );
        for group in 0..groups {
            for asid in 0..spaces {
                ioctl::set_group_asid(&client, group, asid)
                    .when(format_args!("group {group} to {asid} with '{parameters}'"))?;
            }
            let got = ioctl::set_group_asid(&client, group, spaces);
            check_eq!(got, Err(Errno::EINVAL), "group {group} to {spaces}");
        }
        drop(client);
        device.delete()?;
        module::unload().when(parameters)?;
    }
    Ok(())
}

fn refused(context: &mut Context) -> Outcome {
    for count in ["0", "65", "255"] {
        let parameters = format!("address_spaces={count}");
        let got = module::try_load(&parameters)?;
        check_eq!(got, Err(Errno::EINVAL), "{parameters}");
        context.log.expect(&[
            "rvdpa_sim:",
            &format!("{parameters}:"),
            "give a number from 1 to 64",
        ])?;
    }
    check!(!module::is_loaded(), "the module is loaded");
    Ok(())
}

fn only(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("spaces", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    net.loop_frames(FEW)?;
    super::command(&mut net)?;
    let view = View::new(plan(context).kind, 0x55_0000_0000, 0x1000)?;
    let pointer = view.pointer(view.iova(), 0x1000);
    let got = ioctl::map(
        &net.client,
        1,
        view.iova(),
        0x1000,
        pointer,
        Permission::Both,
    );
    check_eq!(got, Err(Errno::EFAULT), "a map in address space 1");
    drop(net);
    device.delete()
}

/// The memory of one address space.
struct Space {
    plan: Plan,
    memory: View,
    control_memory: View,
}

/// Sets a device up in the memory of an address space, which is mapped.
fn enter(client: Client, space: &Space) -> Outcome<Net> {
    let (memory, control) = (space.memory.clone(), space.control_memory.clone());
    let net = Net::on(client, space.plan, memory, control)?;
    net.go()?;
    Ok(net)
}

/// All of them have memory at the same addresses, which is not the same.
fn many(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("spaces", Format::Split)?;
    let mut client = Client::open(&path)?;
    let count = client.kernel().get_as_num()?;
    check_eq!(count, 64, "address spaces");
    let mut spaces = Vec::new();
    for asid in 0..count {
        context.step(format_args!("address space {asid}"));
        let plan = Plan {
            asid,
            control_asid: asid,
            size: 16,
            ..plan(context)
        };
        let mut net = Net::with(client, plan)?;
        net.go()?;
        net.loop_frames(FEW)
            .when(format_args!("address space {asid}"))?;
        spaces.push(Space {
            plan: Plan { map: false, ..plan },
            memory: net.memory.clone(),
            control_memory: net.control_memory.clone(),
        });
        client = net.client;
    }
    // Every second one is emptied, and does not work any more.
    for space in spaces.iter().skip(1).step_by(2) {
        client.unmap(space.plan.asid, space.memory.iova(), space.memory.len())?;
    }
    for (asid, space) in spaces.iter().enumerate() {
        context.step(format_args!("address space {asid} again"));
        let mut net = enter(client, space)?;
        if asid % 2 == 0 {
            net.loop_frames(FEW)
                .when(format_args!("address space {asid} again"))?;
        } else if asid < 4 {
            net.tx.kick()?;
            expect_fault(context, &net, "spaces", &Faulty::at(TX, "not mapped"))
                .when(format_args!("address space {asid} again"))?;
        }
        super::command(&mut net).when(format_args!("address space {asid}"))?;
        client = net.client;
    }
    // Queues in the last one, commands in the first one.
    let (first, last) = (&spaces[0], &spaces[62]);
    let both = Space {
        plan: Plan {
            control_asid: 0,
            ..last.plan
        },
        memory: last.memory.clone(),
        control_memory: first.control_memory.clone(),
    };
    let mut net = enter(client, &both)?;
    net.loop_frames(MANY)?;
    super::command(&mut net)?;
    drop(net);
    // The next client finds all of them empty.
    let mut client = Client::open(&path)?;
    for space in spaces.iter().take(3) {
        let net = enter(client, space)?;
        net.tx.kick()?;
        expect_fault(context, &net, "spaces", &Faulty::at(TX, "not mapped"))?;
        client = net.client;
    }
    drop(client);
    device.delete()
}

/// Groups stay where they are while the device runs; other spaces may change.
fn running(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("spaces", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let got = ioctl::set_group_asid(&net.client, 0, 1);
    check_eq!(got, Err(Errno::EBUSY), "a group of a device that runs");
    net.client.map_all(1, &net.memory)?;
    net.loop_frames(FEW)?;
    net.client.unmap(1, net.memory.iova(), net.memory.len())?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
