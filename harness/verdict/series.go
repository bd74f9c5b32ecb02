package verdict

import (
	"sort"
	"strings"
)

// names interns texts that come again and again. Number 0 is the empty text.
type names struct {
	number map[string]uint16
	text   []string
}

func (s *names) of(text string) uint16 {
	if text == "" {
		return 0
	}
	if n, ok := s.number[text]; ok {
		return n
	}
	if s.number == nil {
		s.number, s.text = map[string]uint16{}, []string{""}
	}
	if len(s.text) == 1<<16 {
		return 1<<16 - 1 // the last of 65,535 different texts stands for all later ones
	}
	text = strings.Clone(text) // not to hold the line that it was read from
	n := uint16(len(s.text))
	s.number[text] = n
	s.text = append(s.text, text)
	return n
}

func (s *names) is(n uint16) string {
	if int(n) < len(s.text) {
		return s.text[n]
	}
	return ""
}

// reading is what something was at an instant.
type reading[T any] struct {
	t tick
	n int64
	v T
}

// series keeps the readings of things by name, in the order of time.
type series[T any] struct {
	place map[string]int
	names []string // in the order in which they appeared
	all   [][]reading[T]
}

func (s *series[T]) add(name string, t tick, n int64, v T) {
	i, ok := s.place[name]
	if !ok {
		if s.place == nil {
			s.place = map[string]int{}
		}
		i = len(s.all)
		name = strings.Clone(name)
		s.place[name] = i
		s.names = append(s.names, name)
		s.all = append(s.all, nil)
	}
	list := append(s.all[i], reading[T]{t, n, v})
	for k := len(list) - 1; k > 0 && list[k-1].t > t; k-- { // logs are nearly in the order of time
		list[k], list[k-1] = list[k-1], list[k]
	}
	s.all[i] = list
}

func (s *series[T]) of(name string) []reading[T] {
	if i, ok := s.place[name]; ok {
		return s.all[i]
	}
	return nil
}

// until is the readings up to and including an instant.
func until[T any](list []reading[T], t tick) []reading[T] {
	return list[:sort.Search(len(list), func(i int) bool { return list[i].t > t })]
}

// before is the last reading up to and including an instant.
func before[T any](list []reading[T], t tick) (reading[T], bool) {
	if list = until(list, t); len(list) > 0 {
		return list[len(list)-1], true
	}
	return reading[T]{}, false
}

type instance struct {
	up, ready bool
	release   uint16
	restarts  int
	memory    int64
}

type node struct {
	role      uint16
	reachable bool
	lag       float64
	digest    uint16
	migration int64
	err       uint16
}

type job struct {
	open   int
	oldest tick // -1: not said
	failed int
	ok     bool
}

type cache struct {
	stale int
	ok    bool
	err   uint16
}

type probe struct {
	value float64
	ok    bool
}

type schema struct {
	t              tick
	n              int64
	at             string
	read, equal    bool
	digest         string
	missing, extra []string // lines of the canonical text
	err            string
}

// on is the release that an instance last said to be, up to an instant: one that restarts keeps it until it says another.
func (f *Facts) on(service, name string, t tick) uint16 {
	list := until(f.instances.of(instanceKey(service, name)), t)
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].v.release != 0 {
			return list[i].v.release
		}
	}
	return 0
}
