@control @faults @services @gate
Feature: Control: a rollback that pulls its image when it needs it

  The plan is right on every day on which the registry answers. It does not just now, and nobody has the old image.

  Scenario: The registry is down and the old tag is needed
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 20 journeys per second by 30 users
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the registry is down while it is rolled back
    Then the drill fails because "every instance serves the target release"
