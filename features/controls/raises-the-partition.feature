@control @kubernetes @gate
Feature: Control: an update that is stopped and not undone

  The partition is raised above all pods, so that no other is updated. The pod that has been updated stays as it is.

  Background:
    Given the service "stand"
    And 60 journeys per second by 30 users

  Scenario: The last pod keeps the bad release
    When release "v2-misprints-in-order" is deployed over "v1-in-order"
    Then users are harmed
    When it is rolled back by the plan "raises-the-partition"
    Then the drill fails because "every instance serves the target release"
