@control @operators @gate
Feature: Control: a plan that clears leases away

  Its first step ends with deleting leases, because one that nobody gave back had once kept a rollback waiting. One of them is that of
  this very rollback. The second operator, on another machine, is let in.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And rollbacks on all machines take turns by a lease
    And 30 journeys per second by 30 users

  Scenario: The second operator is let in on another machine
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "clears-leases"
    And a second operator on another machine starts the same rollback before step 2
    Then the drill fails because "the second operator is refused and told who holds it"
