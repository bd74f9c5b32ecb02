@control @kubernetes @operators @gate
Feature: Control: a plan that takes the holder off the Lease

  Its first step ends with freeing the Lease, because one that nobody gave back had once kept a rollback waiting. It is that of this very
  rollback. The second operator, on another machine, is let in.

  Background:
    Given the service "stand"
    And rollbacks on all machines take turns by a Lease of Kubernetes
    And 60 journeys per second by 30 users

  Scenario: The second operator is let in on another machine
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "takes-the-holder-off"
    And a second operator on another machine starts the same rollback before step 2
    Then the drill fails because "the second operator is refused and told who holds it"
