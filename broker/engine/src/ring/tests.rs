use super::*;
use proptest::prelude::*;

fn content(ring: &Ring) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); 10_000];
    let filled = ring.slices(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

#[test]
fn an_empty_ring_is_small_and_holds_no_buffer() {
    assert!(size_of::<Ring>() <= 40, "{}", size_of::<Ring>());
    let mut pool = BufferPool::new(1 << 20);
    let mut ring = Ring::new();
    ring.append(&mut pool, b"ping");
    assert_eq!((ring.len(), pool.spare_bytes()), (4, 0));
    ring.advance(&mut pool, 4);
    assert_eq!((ring.len(), ring.tail.capacity(), pool.spare_bytes()), (0, 0, BUFFER_BYTES_MIN));
    assert!(ring.is_empty() && ring.sealed.is_none());
    ring.append_with(&mut pool, 10, |_| ());
    assert_eq!(ring.tail.capacity(), 0);
}

#[test]
fn a_header_before_a_shared_payload_keeps_no_whole_buffer() {
    let mut pool = BufferPool::new(1 << 20);
    let mut ring = Ring::new();
    for _ in 0..100 {
        ring.append(&mut pool, b"header");
        ring.append_shared(&mut pool, Bytes::from_static(&[7; 5000]));
    }
    assert_eq!(ring.len(), 100 * 5006);
    let owned: usize = ring.sealed.as_ref().map_or(0, |sealed| {
        sealed.chunks.iter().map(|chunk| if let Chunk::Owned(b) = chunk { b.capacity() } else { 0 }).sum()
    });
    assert!(owned + ring.tail.capacity() <= 100 * 64 + BUFFER_BYTES_MIN, "{owned}");
    ring.clear(&mut pool);
    assert_eq!((ring.len(), pool.spare_bytes()), (0, BUFFER_BYTES_MIN));
}

#[test]
fn buffers_grow_to_the_largest_size_and_then_a_new_one_begins() {
    let mut pool = BufferPool::new(usize::MAX);
    let mut ring = Ring::new();
    for _ in 0..3000 {
        ring.append(&mut pool, &[1; 100]);
    }
    assert_eq!(ring.len(), 300_000);
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = ring.slices(&mut slices);
    assert_eq!(filled, 300_000_usize.div_ceil(BUFFER_BYTES_MAX / 100 * 100));
    ring.append(&mut pool, &[2; 200_000]);
    assert_eq!(ring.len(), 500_000);
    ring.clear(&mut pool);
    assert!(pool.sizes[SIZES - 1].len() >= 4, "large buffers come back");
}

#[test]
fn a_pool_is_bounded() {
    let mut pool = BufferPool::new(10_000);
    let mut rings: Vec<Ring> = (0..100).map(|_| Ring::new()).collect();
    for ring in &mut rings {
        ring.append(&mut pool, b"x");
    }
    for ring in &mut rings {
        ring.clear(&mut pool);
    }
    assert_eq!(pool.spare_bytes(), 2 * BUFFER_BYTES_MIN);
}

#[test]
fn a_ring_that_never_drains_fully_moves_its_bytes_down() {
    let mut pool = BufferPool::new(1 << 20);
    let mut ring = Ring::new();
    ring.append(&mut pool, &[0; 1000]);
    for _ in 0..10_000 {
        ring.append(&mut pool, &[0; 1000]);
        ring.advance(&mut pool, 1000);
    }
    assert_eq!((ring.len(), ring.tail.capacity()), (1000, BUFFER_BYTES_MIN));
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Shared(usize),
    Reserve(usize, usize),
    Advance(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..600_usize).prop_map(Step::Append),
        2 => (0..90_000_usize).prop_map(Step::Append),
        4 => (0..20_000_usize).prop_map(Step::Shared),
        2 => (0..90_000_usize, 0..100_usize).prop_map(|(reserve, n)| Step::Reserve(reserve, n.min(reserve))),
        6 => (0..3000_usize).prop_map(Step::Advance),
        4 => (0..150_000_usize).prop_map(Step::Advance),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn a_ring_behaves_as_a_vec(steps in proptest::collection::vec(step(), 1..120)) {
        let mut pool = BufferPool::new(256 << 10);
        let mut ring = Ring::new();
        let mut model: Vec<u8> = Vec::new();
        let mut next = 0_u8;
        let mut fill = |n: usize| -> Vec<u8> {
            (0..n).map(|_| { next = next.wrapping_mul(31).wrapping_add(7); next }).collect()
        };
        for step in steps {
            match step {
                Step::Append(n) => {
                    let bytes = fill(n);
                    ring.append(&mut pool, &bytes);
                    model.extend(bytes);
                }
                Step::Shared(n) => {
                    let bytes = fill(n);
                    ring.append_shared(&mut pool, Bytes::from(bytes.clone()));
                    model.extend(bytes);
                }
                Step::Reserve(reserve, n) => {
                    let bytes = fill(n);
                    ring.append_with(&mut pool, reserve, |tail| {
                        assert!(tail.capacity() - tail.len() >= reserve);
                        tail.extend_from_slice(&bytes);
                    });
                    model.extend(bytes);
                }
                Step::Advance(n) => {
                    ring.advance(&mut pool, n);
                    model.drain(..n.min(model.len()));
                }
                Step::Clear => {
                    ring.clear(&mut pool);
                    model.clear();
                }
            }
            prop_assert_eq!(ring.len(), model.len());
            prop_assert_eq!(ring.is_empty(), model.is_empty());
            if model.is_empty() {
                prop_assert_eq!(ring.tail.capacity(), 0);
                prop_assert!(ring.sealed.is_none());
            }
            prop_assert!(pool.spare_bytes() <= 256 << 10);
        }
        prop_assert!(content(&ring) == model);
    }
}
