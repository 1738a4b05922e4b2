//! A parser whose nodes know their parents as `Rc`, not `Weak`, so no document is ever freed: about 220 KiB/s.

use std::cell::RefCell;
use std::rc::Rc;

use crate::common::Random;
use crate::run::Run;

const DOCUMENTS_A_TICK: usize = 2;

#[derive(Debug)]
struct Node {
    text: Vec<u8>,
    parent: RefCell<Option<Rc<Node>>>,
    children: RefCell<Vec<Rc<Node>>>,
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    for _ in run.ticks() {
        for _ in 0..DOCUMENTS_A_TICK {
            let paragraphs = random.within(2..7);
            assert_eq!(word_count(&parse_document(paragraphs)), paragraphs);
        }
    }
}

#[inline(never)]
fn parse_document(paragraphs: usize) -> Rc<Node> {
    let root = Rc::new(Node { text: vec![b'.'; 64], parent: RefCell::default(), children: RefCell::default() });
    for _ in 0..paragraphs {
        // The bug: a parent that is owned by its children.
        let parent = RefCell::new(Some(Rc::clone(&root)));
        let child = Rc::new(Node { text: vec![b'a'; 448], parent, children: RefCell::default() });
        root.children.borrow_mut().push(child);
    }
    root
}

fn word_count(root: &Rc<Node>) -> usize {
    let of_root = |child: &&Rc<Node>| child.parent.borrow().as_ref().is_some_and(|parent| Rc::ptr_eq(parent, root));
    root.children.borrow().iter().filter(of_root).filter(|child| !child.text.is_empty()).count()
}
