package fault

import (
	"context"
	"errors"
	"fmt"

	"backout/harness/evidence"
)

// cutOff takes an instance or a node off the network on which services and nodes talk.
type cutOff struct {
	World
	name string
}

func cut() Kind {
	return Kind{
		Name: "cut", Forms: []Form{{Text: "{target} is cut off"}}, On: machines(), Removes: true,
		Needs: "cut anything off the network",
		Can:   func(p Place) bool { return p.Cut != nil && p.Heal != nil && p.Reaches != nil },
		New:   func(w World, d evidence.DeclaredFault) Fault { return cutOff{w, d.Of} },
	}
}

func (f cutOff) Inject(ctx context.Context) error { return f.Place.Cut(ctx, f.name) }
func (f cutOff) Lift(ctx context.Context) error   { return f.Place.Heal(ctx, f.name) }

func (f cutOff) InForce(ctx context.Context) (string, bool, error) {
	seen, reached, err := f.reached(ctx)
	return seen, !reached, err
}

func (f cutOff) Gone(ctx context.Context) (string, bool, error) { return f.reached(ctx) }

// reached tries to connect to it from somebody who must be able to.
func (f cutOff) reached(ctx context.Context) (string, bool, error) {
	peer, err := f.peer()
	if err != nil {
		return "", false, err
	}
	is, err := f.Place.Reaches(ctx, peer, f.name)
	if err != nil {
		return "", false, err
	}
	if is {
		return fmt.Sprintf("%s reaches %s", peer, f.name), true, nil
	}
	return fmt.Sprintf("%s does not reach %s", peer, f.name), false, nil
}

// peer is who talks to it: a replica's primary, and for the primary another node or an instance.
func (f cutOff) peer() (string, error) {
	var names []string
	for _, n := range f.Nodes() {
		names = append(names, n.Name)
	}
	for _, i := range f.Instances() {
		names = append(names, i.Name)
	}
	for _, name := range names {
		if name != f.name {
			return name, nil
		}
	}
	return "", errors.New("there is nobody else on the network")
}
