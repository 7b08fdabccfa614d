//! Repeated commands.

use super::*;

#[test]
fn a_repeated_command_gets_its_first_answer_and_an_older_one_none() {
    let mut world = World::new();
    let send = |world: &mut World, number, action| {
        let command = Command {
            client: uuid(5),
            number,
            time: Micros(1),
            action,
        };
        world.catalog.apply(world.catalog.applied() + 1, &command)
    };
    let first = send(&mut world, 1, create("a", 1, ""));
    let hash = world.catalog.clone();
    assert_eq!(send(&mut world, 1, create("a", 1, "")), first);
    assert_eq!(world.catalog.buffers, hash.buffers);
    send(&mut world, 2, create("A", 2, "")).unwrap_err();
    let again = send(&mut world, 2, create("b", 2, ""));
    assert_eq!(again, Err(Refused::RefusedBefore { number: 2 }));
    let old = send(&mut world, 1, create("c", 3, ""));
    assert_eq!(old, Err(Refused::Superseded { number: 1, last: 2 }));
}

#[test]
fn the_table_of_clients_is_bounded_and_forgets_the_one_silent_for_longest() {
    let mut world = World::new();
    for client in 0..=u64::try_from(COMMAND_CLIENTS_MAX).unwrap() {
        let action = Action::ConfirmBuffer {
            uuid: uuid(1),
            reserved: None,
        };
        let command = Command {
            client: uuid(client + 100),
            number: 1,
            time: Micros(1),
            action,
        };
        world
            .catalog
            .apply(world.catalog.applied() + 1, &command)
            .unwrap_err();
    }
    assert_eq!(world.catalog.clients.0.len(), COMMAND_CLIENTS_MAX);
    assert!(!world.catalog.clients.0.contains_key(&uuid(100)));
}
