//! Things with short numbers, so that the way to one is an index.

/// Where a thing is. A number is given again, a generation is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) number: u32,
    pub(crate) generation: u32,
}

/// A table of things; numbers of removed ones are given again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        let (places, free) = (Vec::new(), Vec::new());
        Self { places, free }
    }
}

impl<T> Slab<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Returns the key that the next thing will have.
    pub(crate) fn next_key(&self) -> Key {
        let number = self.free.last().copied();
        let number = number.unwrap_or_else(|| u32::try_from(self.places.len()).expect("few"));
        let generation = self.places.get(number as usize).map_or(0, |place| place.0);
        Key { number, generation }
    }

    /// Puts a thing in.
    pub(crate) fn insert(&mut self, thing: T) -> Key {
        let key = self.next_key();
        match self.free.pop() {
            Some(number) => self.places[number as usize].1 = Some(thing),
            None => self.places.push((0, Some(thing))),
        }
        key
    }

    /// Takes a thing out.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, thing) = self.places.get_mut(key.number as usize)?;
        if *generation != key.generation {
            return None;
        }
        let thing = thing.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.number);
        Some(thing)
    }

    /// Returns a thing.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, thing) = self.places.get_mut(key.number as usize)?;
        thing.as_mut().filter(|_| *generation == key.generation)
    }
}

impl<T> Slab<T> {
    /// Returns the thing that has a number now.
    pub(crate) fn at(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.1.as_mut()
    }

    /// Takes out the thing that has a number now.
    pub(crate) fn remove_at(&mut self, number: u32) -> Option<T> {
        let generation = self.places.get(number as usize)?.0;
        self.remove(Key { number, generation })
    }

    /// Goes through all things.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.1.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_but_an_old_key_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        let second = slab.insert("second");
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        let third = slab.next_key();
        assert_eq!(slab.insert("third"), third);
        assert_eq!(third.number, first.number);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.get_mut(third), Some(&mut "third"));
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.at(1), Some(&mut "second"));
        assert_eq!(slab.remove_at(1), Some("second"));
        assert_eq!(slab.iter_mut().count(), 1);
    }
}
