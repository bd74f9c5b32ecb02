@control @herd @gate
Feature: Control: a plan that leaves the service throttled

  The old code is started throttled, so that it can warm up; for the usual load that is enough. Nobody lifts the throttle,
  and the clients who come back are turned away.

  Background:
    Given the service "shop" with 1000 orders
    And 20 journeys per second by 30 users

  Scenario: Clients who come back are turned away
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "leaves-the-throttle"
    And 4 times as many clients come back for 10 seconds when service is restored
    Then the drill fails because "service stays restored when clients come back"
