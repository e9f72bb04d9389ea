//! Complete random games, one configuration after the other: `cargo bench -p rules`.

use criterion::{Criterion, criterion_group, criterion_main};
use rules::playout::{Choices, play};
use rules::{Config, Options, State, with_board};

fn random_games(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("random_game");
    group.sample_size(20);
    for config in Config::all() {
        with_board!(config.board, T => {
            let start = State::<T>::new(config.seats, Options { swap: config.seats == 2, ..Options::default() });
            let mut choices = Choices::new(1);
            let mut legal = Vec::new();
            group.bench_function(config.key(), |bencher| {
                bencher.iter(|| play(start, &mut choices, &mut legal, |_, _| {}).ply());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, random_games);
criterion_main!(benches);
