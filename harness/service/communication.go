package service

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"backout/harness/evidence"
)

// Channels of people. What is told on them also stands in the run's transcript.
const (
	ChannelStatus       = "status"       // each action by itself
	ChannelStakeholders = "stakeholders" // scope and impact, milestones, updates, the final word
)

// When a part of the template is told.
const (
	TellAtOnce       = "at once"              // the first notice: when it is known that something is wrong
	TellAfterSteps   = "after the last step"  // it waits until the plan's commands have returned
	AllClearWhenDone = "when nothing is open" // the all-clear: service has stayed restored, and nothing residual is open
)

// What is kept to unless service.yaml or the plan says otherwise. Source: the template of the issue that asked for it.
const (
	firstNotice = 5 * time.Minute
	updates     = 5 * time.Minute
	stable      = 15 * time.Minute
	handoff     = 30 * time.Minute
)

// Communication is whom to tell, and by when. A field that is empty was not stated.
type Communication struct {
	Channels    map[string][]Transport // by channel
	FirstNotice time.Duration          // the first notice is out within
	Updates     time.Duration          // nobody waits longer for news
	Stable      time.Duration          // how long service must have stayed restored before the final word
	TellFirst   string                 // one of Tell...
	AllClear    string                 // AllClearWhenDone or TellAfterSteps
	Receiver    string                 // to whom the incident is handed; empty: to nobody
	Accepts     time.Duration          // within which the receiver must accept
}

// Transport is one way to reach the people of a channel: exactly one of the fields is set.
type Transport struct {
	File string // holds a URL of shoutrrr, such as slack://hook:TOKEN@webhook; secret
	Env  string // a variable of the harness's own environment that holds one
	Stub string // a stub of service.yaml: what it gets is compared with the transcript
}

// Name tells transports apart and holds no secret.
func (t Transport) Name() string { return cmp.Or(t.Stub, t.Env, t.File) }

// MessageRoute is the route of a stub that takes messages: the key of a request is its message.
func (s Stub) MessageRoute() (Route, bool) {
	for _, r := range s.Routes {
		if r.Method == "POST" && r.Key == "$.message" && !strings.Contains(r.Path, "{") {
			return r, true
		}
	}
	return Route{}, false
}

func communication(v *value, s *Service) Communication {
	var c Communication
	if v == nil {
		return c
	}
	o := v.object("channels", "first_notice", "updates", "stable", "tell_first", "all_clear", "handoff")
	if channels := o.get("channels"); channels != nil {
		c.Channels = map[string][]Transport{}
		known := channels.object("status", "stakeholders")
		for _, name := range []string{ChannelStatus, ChannelStakeholders} {
			if list := known.get(name); list != nil {
				c.Channels[name] = transports(list, s)
			}
		}
	}
	for _, t := range []struct {
		key string
		to  *time.Duration
	}{{"first_notice", &c.FirstNotice}, {"updates", &c.Updates}, {"stable", &c.Stable}} {
		if at := o.get(t.key); at != nil {
			*t.to = at.duration()
		}
	}
	if at := o.get("tell_first"); at != nil {
		c.TellFirst = at.choice(TellAtOnce, TellAfterSteps)
	}
	if at := o.get("all_clear"); at != nil {
		c.AllClear = at.choice(AllClearWhenDone, TellAfterSteps)
	}
	if at := o.get("handoff"); at != nil {
		h := at.object("to", "within")
		c.Receiver = h.must("to", "who takes the incident over").text()
		if w := h.get("within"); w != nil {
			c.Accepts = w.duration()
		}
	}
	return c
}

func transports(v *value, s *Service) []Transport {
	all := []Transport{}
	for _, item := range v.list() {
		if !item.isMapping() {
			item.wrong("expected {file: FILE} or {env: VARIABLE} in %s, since a URL that reaches people is a secret, found a text", v.what)
			continue
		}
		o := item.object("file", "env", "stub")
		o.exactly("file", "env", "stub")
		t := Transport{File: o.get("file").text(), Env: o.get("env").text(), Stub: o.get("stub").text()}
		if t.Env != "" && !variable.MatchString(t.Env) {
			o.get("env").expected("the name of a variable")
		}
		if t.Stub != "" {
			if stub, is := s.Stubs[t.Stub]; !is {
				o.get("stub").wrong("expected a stub of service.yaml in stub, found %q%s", t.Stub, meant(t.Stub, sorted(s.Stubs)))
			} else if _, takes := stub.MessageRoute(); !takes {
				o.get("stub").wrong("expected a route of the stub %s that takes messages, such as POST /messages: {key: $.message}, found none", t.Stub)
			}
		}
		all = append(all, t)
	}
	return all
}

// Told is whom the plan tells and by when: what the plan states, else what service.yaml states, else the template's.
func (p *Plan) Told() Communication {
	c, of := p.Communication, p.Release.Service.Communication
	t := Communication{
		Channels:    map[string][]Transport{},
		FirstNotice: cmp.Or(c.FirstNotice, of.FirstNotice, firstNotice),
		Updates:     cmp.Or(c.Updates, of.Updates, updates),
		Stable:      cmp.Or(c.Stable, of.Stable, stable),
		TellFirst:   cmp.Or(c.TellFirst, of.TellFirst, TellAtOnce),
		AllClear:    cmp.Or(c.AllClear, of.AllClear, AllClearWhenDone),
		Receiver:    cmp.Or(c.Receiver, of.Receiver),
		Accepts:     cmp.Or(c.Accepts, of.Accepts, handoff),
	}
	for _, name := range []string{ChannelStatus, ChannelStakeholders} {
		list, stated := c.Channels[name]
		if !stated {
			list = of.Channels[name]
		}
		if len(list) > 0 {
			t.Channels[name] = list
		}
	}
	return t
}

// Unproven says that whoever is named as the receiver of the incident could not prove to be that person; empty: none is named, or
// it can be proven.
func (p *Plan) Unproven() string {
	to, s := p.Told().Receiver, p.Release.Service
	if _, known := s.People[to]; to == "" || known {
		return ""
	}
	return fmt.Sprintf("%s hands the incident over to %s, who is not among the people of %s, so that nobody could prove to be that person: say there people: {%s: {key: ssh-ed25519 ...}}", p.Path, to, s.Path, to)
}

// Evidence is what judging needs to know of it. Stability is how many seconds service must stay restored in this run, of
// which the other intervals of waiting are shortened alike; the first notice is due as stated.
func (c Communication) Evidence(stability float64) *evidence.Communication {
	e := &evidence.Communication{
		FirstNotice: c.FirstNotice.Seconds(), Updates: c.Updates.Seconds(), Stable: c.Stable.Seconds(), Shortened: 1,
		TellFirst: c.TellFirst, AllClear: c.AllClear,
	}
	// By the template's stability and not by the stated one: a plan that waits too short a time is not made longer.
	if times := stable.Seconds() / stability; stability > 0 && times > 1 {
		e.Shortened = times
	}
	if c.Receiver != "" {
		e.Receiver, e.Accepts = c.Receiver, c.Accepts.Seconds()
	}
	for _, name := range []string{ChannelStatus, ChannelStakeholders} {
		for _, t := range c.Channels[name] {
			e.Transports = append(e.Transports, evidence.Transport{Channel: name, Name: t.Name(), Compared: t.Stub != ""})
		}
	}
	return e
}
