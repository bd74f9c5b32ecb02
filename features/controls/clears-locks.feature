@control @operators @gate
Feature: Control: a plan that clears locks away

  Its first step removes lock files, which a crashed run is thought to have left behind. One of them is that of this very
  rollback. The second operator is let in.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The second operator is let in
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "clears-locks"
    And a second operator starts the same rollback before step 2
    Then the drill fails because "the second operator is refused and told who holds it"
