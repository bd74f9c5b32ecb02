package observe

import (
	"context"
	"net/http"

	"backout/harness/evidence"
)

type alerts struct{}

func newAlerts(string) *alerts                                { return &alerts{} }
func (*alerts) journey(j evidence.Journey, t evidence.Offset) {}
func (*alerts) fix(from, to evidence.Offset)                  {}

type steps struct{}

func newSteps(context.Context) *steps { return &steps{} }
func (*steps) begin()                 {}
func (*steps) finish()                {}

type cluster struct{}

func newCluster() *cluster      { return &cluster{} }
func (*cluster) demandSchemas() {}
func newClient() *http.Client   { return &http.Client{} }
func (o *Observer) roster()     {}
func (o *Observer) machine()    {}
func (o *Observer) alerting()   {}
func (o *Observer) queries()    {}
