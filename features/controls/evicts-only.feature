@control @faults @kubernetes @gate
Feature: Control: a rollback that knows evictions only

  The old prices are back where they are kept, and no pod reads them again: the budget lets none go, and the plan knows no other way.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The budget forbids them
    When release "v2-free-soup" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "evicts"
    And a disruption budget forbids to evict the pods of stand while it is rolled back
    Then the drill fails because "every instance serves the target release"
